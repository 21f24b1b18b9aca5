// Models in files: any tree as safetensors, with the names that fields() give.
//
//   save("model.safetensors", model, {{"epoch", "12"}});
//   auto metadata = load("model.safetensors", model);   // model says what is expected
//
// "hidden.weight", "layers.0.bias": PyTorch and others read the file as it is; where they use other
// names a function translates (pytorch_names.hpp). Parameters and
// constants are both stored, in their own element type (F32, F64). Writing is atomic. Invariant:
// load changes the tree as a whole or, when it throws, not at all: a missing or surplus name,
// another shape or element type is a FormatError that names file and tensor.
#pragma once

#include <filesystem>
#include <functional>
#include <map>

#include "unroll/autograd/model.hpp"
#include "unroll/nn/safetensors.hpp"

namespace unroll {

using Metadata = std::map<std::string, std::string>;
// From a name in the tree to that in the file; none: the same.
using NameInFile = std::function<std::string(const std::string&)>;

enum class CastTensors { no, yes };
enum class SurplusTensors { refuse, ignore };
struct LoadOptions {
  CastTensors cast = CastTensors::no;  // F32 in the file may become double, and F64 float
  NameInFile name = nullptr;
  SurplusTensors surplus = SurplusTensors::refuse;  // ignore: the tree is a part of what was saved
};

namespace detail {

// Of a tree that is one Var without a name.
[[nodiscard]] inline std::string tensor_name(const std::string& name, const NameInFile& in_file) {
  const std::string own = name.empty() ? "value" : name;
  return in_file ? in_file(own) : own;
}
template <FloatOrDouble T>
[[nodiscard]] TensorData tensor_of(const std::string& name, const Var<T>& x);

// Hands out a file's tensors by name, and knows which were not asked for.
class TensorReader {
 public:
  explicit TensorReader(const std::filesystem::path& path);
  // Throws FormatError when it is missing or does not fit `expected`; an empty Var takes any shape.
  template <FloatOrDouble T>
  [[nodiscard]] Var<T> get(const std::string& name, const Var<T>& expected, CastTensors cast);
  // Throws FormatError when the file holds more than was asked for.
  void check_all_taken() const;
  Metadata take_metadata() { return std::move(file_.metadata); }

 private:
  [[noreturn]] void reject(const std::string& what) const;

  std::string path_;
  SafetensorsFile file_;
  std::map<std::string, std::size_t, std::less<>> places_;
  std::vector<bool> taken_;
};

}  // namespace detail

// Throws FileError when the file cannot be written, std::invalid_argument when a parameter is an
// empty Var.
template <Tree X>
void save(const std::filesystem::path& path, const X& tree, const Metadata& metadata = {},
          const NameInFile& in_file = nullptr) {
  SafetensorsFile file;
  file.metadata = metadata;
  for_each_state(tree, [&](const std::string& name, const auto& p) {
    file.tensors.emplace_back(detail::tensor_name(name, in_file), detail::tensor_of(name, p));
  });
  write_safetensors(path, file);
}

// Returns the file's metadata. Parameters that are empty Vars (a model not initialised yet) take
// the file's shapes.
template <Tree X>
Metadata load(const std::filesystem::path& path, X& tree, const LoadOptions& options = {}) {
  detail::TensorReader reader(path);
  X loaded = tree;
  for_each_state(loaded, [&](const std::string& name, auto& p) {
    p = reader.get(detail::tensor_name(name, options.name), p, options.cast);
  });
  if (options.surplus == SurplusTensors::refuse) reader.check_all_taken();
  tree = std::move(loaded);
  return reader.take_metadata();
}

}  // namespace unroll
