#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "temporary_folder.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

using testing::TemporaryFolder;

std::size_t file_count(const TemporaryFolder& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder.path()), {}));
}

unsigned mode_of(const fs::path& path) {
  struct stat status = {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777u;
}

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const FileError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Lets no file of this process grow beyond `bytes`: a disk that is full, without filling one.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("a written file reads back byte for byte and leaves nothing beside it") {
  const TemporaryFolder folder;
  std::string bytes(100'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 % 256);
  write_file_atomically(folder / "a.bin", bytes);
  CHECK(read_whole_file(folder / "a.bin") == bytes);
  write_file_atomically(folder / "a.bin", std::string_view());
  CHECK(read_whole_file(folder / "a.bin").empty());
  CHECK(file_count(folder) == 1);
}

TEST_CASE("pieces are written one after the other") {
  const TemporaryFolder folder;
  const std::string a = "head ";
  const std::string b = "body";
  const std::vector<std::span<const std::byte>> pieces{
      std::as_bytes(std::span(a)), {}, std::as_bytes(std::span(b))};
  write_file_atomically(folder / "a.txt", pieces);
  CHECK(read_whole_file(folder / "a.txt") == "head body");
}

TEST_CASE("a new file gets the mode of the umask and an existing one keeps its own") {
  const TemporaryFolder folder;
  const mode_t old_mask = ::umask(027);
  write_file_atomically(folder / "a.txt", "new");
  ::umask(old_mask);
  CHECK(mode_of(folder / "a.txt") == 0640);

  REQUIRE(::chmod((folder / "a.txt").c_str(), 0604) == 0);
  write_file_atomically(folder / "a.txt", "newer");
  CHECK(mode_of(folder / "a.txt") == 0604);
  CHECK(read_whole_file(folder / "a.txt") == "newer");
}

TEST_CASE("a symbolic link stays a link and its target is replaced") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "real");
  write_file_atomically(folder / "real/a.txt", "old");
  fs::create_symlink("real/a.txt", folder / "link");
  fs::create_symlink("link", folder / "link_to_link");
  write_file_atomically(folder / "link_to_link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(fs::is_symlink(folder / "link_to_link"));
  CHECK(read_whole_file(folder / "real/a.txt") == "new");

  fs::create_symlink("real/b.txt", folder / "dangling");
  write_file_atomically(folder / "dangling", "made");
  CHECK(read_whole_file(folder / "real/b.txt") == "made");

  fs::create_symlink("loop", folder / "loop");
  const std::string message = error_of([&] { write_file_atomically(folder / "loop", "x"); });
  CHECK(contains(message, (folder / "loop").string()));
  CHECK(contains(message, "symbolic link"));
}

TEST_CASE("a write that fails keeps the old file and removes the temporary one") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.bin", "precious");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = error_of([&] { write_file_atomically(folder / "a.bin", std::string(100'000, 'x')); });
  }
  CHECK(contains(message, (folder / "a.bin").string()));
  CHECK(contains(message, "File too large"));
  CHECK(read_whole_file(folder / "a.bin") == "precious");
  CHECK(file_count(folder) == 1);
}

TEST_CASE("a temporary file left by a killed process is stepped over, not overwritten") {
  const TemporaryFolder folder;
  const std::string stale = ".unroll-" + std::to_string(::getpid()) + "-0.tmp";
  write_file_atomically(folder / stale, "stale");
  write_file_atomically(folder / "a.txt", "fresh");
  CHECK(read_whole_file(folder / "a.txt") == "fresh");
  CHECK(read_whole_file(folder / stale) == "stale");
  CHECK(file_count(folder) == 2);
}

TEST_CASE("writing to what is no file is refused with its name and the reason") {
  const TemporaryFolder folder;
  const auto write_error = [&](const fs::path& path) {
    return error_of([&] { write_file_atomically(path, "x"); });
  };
  CHECK(contains(write_error(folder / "none/a.txt"), "none/a.txt"));
  CHECK(contains(write_error(folder / "none/a.txt"), "No such file or directory"));
  fs::create_directory(folder / "sub");
  CHECK(contains(write_error(folder / "sub"), "Is a directory"));
  CHECK(contains(write_error(folder / "sub/"), "no file name"));
  CHECK(contains(write_error("/dev/null"), "/dev/null: cannot write: it is a device"));
  CHECK(fs::is_character_file("/dev/null"));
  write_file_atomically(folder / "file", "x");
  CHECK(contains(write_error(folder / "file/a.txt"), "Not a directory"));
}

TEST_CASE("reading what is no file is refused with its name and the reason") {
  const TemporaryFolder folder;
  const auto read_error = [&](const fs::path& path) {
    return error_of([&] { (void)read_whole_file(path); });
  };
  CHECK(contains(read_error(folder / "absent"), "absent: cannot open: No such file or directory"));
  CHECK(contains(read_error(folder / ""), "Is a directory"));
  CHECK(contains(read_error("/dev/null"), "not a file"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(contains(read_error(folder / "pipe"), "not a file"));
}
