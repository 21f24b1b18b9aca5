# Unroll as a Conan 2 package, from this tree:
#   conan create tools/conan -s compiler.cppstd=20 --build=missing
# With -o '&:system=True' nothing is required of Conan: the dependencies and Meson are the machine's.
# tools/package_conan.sh checks it so; the requirements below were not resolved against a remote.
import os

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, rm, rmdir
from conan.tools.gnu import PkgConfigDeps
from conan.tools.layout import basic_layout
from conan.tools.meson import Meson, MesonToolchain

required_conan_version = ">=2.0"


class UnrollConan(ConanFile):
    name = "unroll"
    version = "0.1.0"
    license = "Apache-2.0"
    description = "Automatic differentiation of sequence models over xtensor arrays"
    topics = ("automatic-differentiation", "recurrent-neural-networks", "xtensor")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {
        "shared": [True, False],
        "fPIC": [True, False],
        "models": [True, False],  # unroll_models too: the five shapes and the trainer
        "system": [True, False],  # dependencies of the machine instead of Conan's
    }
    default_options = {
        "shared": False,
        "fPIC": True,
        "models": True,
        "system": False,
        "xtensor/*:xsimd": False,  # lanes are the library's own business
    }
    implements = ["auto_shared_fpic"]

    def export_sources(self):
        root = os.path.join(self.recipe_folder, "..", "..")
        for pattern in ("meson.build", "meson_options.txt", "LICENSE", "autograd/*", "nn/*", "models/*", "lib/*"):
            copy(self, pattern, src=root, dst=self.export_sources_folder)

    def layout(self):
        basic_layout(self)

    def requirements(self):
        if self.options.system:
            return
        self.requires("xtensor/[>=0.24 <0.26]", transitive_headers=True)  # with xtl
        self.requires("xsimd/[>=8.1 <15]", transitive_headers=True)
        self.requires("openblas/[>=0.3.20 <0.4]")
        self.requires("fmt/[>=9 <13]")
        self.requires("nlohmann_json/[>=3.10 <4]", force=True)  # xtensor states one version
        if self.options.models:
            self.requires("xtensor-blas/[>=0.20 <0.22]")  # not every remote has a recipe of it
            self.requires("cli11/[>=2.2 <3]")
            self.requires("zlib/[>=1.2.11 <2]")

    def build_requirements(self):
        if not self.options.system:
            self.tool_requires("meson/[>=1.0 <2]")
            self.tool_requires("pkgconf/[>=2 <3]")

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        toolchain = MesonToolchain(self)
        toolchain.project_options["models"] = bool(self.options.models)
        # The loader, which chooses a level, is there for shared libraries only.
        toolchain.project_options["levels"] = bool(self.options.shared)
        if not self.options.system:
            PkgConfigDeps(self).generate()
            # OpenBLAS is looked for without pkg-config.
            openblas = self.dependencies["openblas"].cpp_info.aggregated_components()
            toolchain.extra_cxxflags += [f"-I{folder}" for folder in openblas.includedirs]
            toolchain.extra_ldflags += [f"-L{folder}" for folder in openblas.libdirs]
        toolchain.generate()

    def build(self):
        meson = Meson(self)
        meson.configure()
        meson.build()

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        Meson(self).install()
        libraries = os.path.join(self.package_folder, "lib")
        for folder in ("pkgconfig", "cmake"):  # Conan writes its own
            rmdir(self, os.path.join(libraries, folder))
        # Meson builds both kinds.
        if self.options.shared:
            rm(self, "*.a", libraries)
        else:
            rm(self, "*.so*", libraries)
            rmdir(self, os.path.join(libraries, "glibc-hwcaps"))

    def package_info(self):
        system = bool(self.options.system)
        self.cpp_info.set_property("cmake_file_name", "unroll")
        engine = self.cpp_info.components["unroll"]
        engine.libs = ["unroll"]
        engine.set_property("cmake_target_name", "unroll::unroll")
        engine.set_property("pkg_config_name", "unroll")
        engine.system_libs = ["pthread", "m"] + (["openblas", "fmt"] if system else [])
        if not system:
            engine.requires = [f"{name}::{name}" for name in ("xtensor", "xsimd", "openblas", "fmt", "nlohmann_json")]
        if self.options.models:
            models = self.cpp_info.components["models"]
            models.libs = ["unroll_models"]
            models.set_property("cmake_target_name", "unroll::models")
            models.set_property("pkg_config_name", "unroll-models")
            models.requires = ["unroll"]
            if system:
                models.system_libs = ["z"]
            else:
                models.requires += [f"{name}::{name}" for name in ("xtensor-blas", "cli11", "zlib")]
