#include "unroll/nn/atomic_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace unroll {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail_file(const fs::path& path, std::string_view action, int error) {
  throw FileError(path.string(), std::string(action) + ": " + reason(error));
}

// Closes on every way out; close() itself is called by hand where its result matters.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  int close() { return number_ < 0 ? 0 : ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

// Removes the temporary file unless it has become the target.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  [[nodiscard]] const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

// The file that a chain of symbolic links leads to, which need not exist yet.
fs::path link_target(const fs::path& path) {
  constexpr int longest_chain = 40;  // what Linux allows
  fs::path target = path;
  for (int i = 0; i < longest_chain; ++i) {
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(target, error))) return target;
    const fs::path next = fs::read_symlink(target, error);
    if (error) fail_file(path, "cannot follow the symbolic link", error.value());
    target = target.parent_path() / next;  // an absolute link replaces the left side
  }
  fail_file(path, "cannot follow the symbolic link", ELOOP);
}

// Not mkstemp: a new file shall get the mode that the user's umask asks for.
fs::path create_temporary(const fs::path& folder, const fs::path& path, int& number) {
  constexpr int most_attempts = 1000;
  const std::string prefix = ".unroll-" + std::to_string(::getpid()) + "-";
  for (int i = 0; i < most_attempts; ++i) {
    const fs::path candidate = folder / (prefix + std::to_string(i) + ".tmp");
    number = ::open(candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (number >= 0) return candidate;
    if (errno != EEXIST) break;
  }
  fail_file(path, "cannot create a temporary file beside it", errno);
}

void write_fully(int number, std::span<const std::byte> bytes, const fs::path& path) {
  constexpr std::size_t largest_write = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t written = ::write(number, bytes.data(), std::min(bytes.size(), largest_write));
    if (written >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      fail_file(path, "cannot write", errno);
    }
  }
}

void copy_mode_and_owner(int number, const struct stat& old, const fs::path& path) {
  // Only root may give files away; for others the file becomes theirs, as with any editor. Then it
  // must not get set-user-id bits that were meant for the old owner.
  const bool same_owner = ::fchown(number, old.st_uid, old.st_gid) == 0;
  const mode_t mode = old.st_mode & (same_owner ? 07777 : 0777);
  if (::fchmod(number, mode) != 0) fail_file(path, "cannot keep its mode", errno);
}

// Makes the new name survive a power cut. Folders that cannot be read or file systems that know no
// such thing are no error: nothing more can be done there.
void sync_folder(const fs::path& folder, const fs::path& path) {
  const Descriptor handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle.is_open() || ::fsync(handle.number()) == 0) return;
  if (errno != EINVAL && errno != ENOTSUP && errno != EROFS) {
    fail_file(path, "written, but its folder cannot be flushed to the disk", errno);
  }
}

}  // namespace

void write_file_atomically(const fs::path& path,
                           std::span<const std::span<const std::byte>> pieces) {
  if (path.filename().empty()) {
    throw FileError(path.string(), "cannot write: the path has no file name");
  }
  const fs::path target = link_target(path);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");

  struct stat old = {};
  const bool exists = ::stat(target.c_str(), &old) == 0;
  if (!exists && errno != ENOENT) fail_file(path, "cannot write", errno);
  if (exists && S_ISDIR(old.st_mode)) fail_file(path, "cannot write", EISDIR);
  if (exists && !S_ISREG(old.st_mode)) {
    throw FileError(path.string(), "cannot write: it is a device, pipe or socket, not a file");
  }

  int number = -1;
  TemporaryFile temporary(create_temporary(folder, path, number));
  Descriptor file(number);
  for (const auto piece : pieces) write_fully(file.number(), piece, path);
  if (exists) copy_mode_and_owner(file.number(), old, path);
  if (::fsync(file.number()) != 0) fail_file(path, "cannot flush to the disk", errno);
  if (file.close() != 0) fail_file(path, "cannot write", errno);
  if (::rename(temporary.path().c_str(), target.c_str()) != 0) {
    fail_file(path, "cannot put the new file in place", errno);
  }
  temporary.keep();
  sync_folder(folder, path);
}

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes) {
  const std::array pieces{bytes};
  write_file_atomically(path, std::span<const std::span<const std::byte>>(pieces));
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

std::string read_whole_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) fail_file(path, "cannot open", errno);
  struct stat status = {};
  if (::fstat(file.number(), &status) != 0) fail_file(path, "cannot read", errno);
  if (S_ISDIR(status.st_mode)) fail_file(path, "cannot read", EISDIR);
  if (!S_ISREG(status.st_mode)) {
    throw FileError(path.string(), "cannot read: it is a device, pipe or socket, not a file");
  }

  // One byte more than the size, so that the end is seen without growing; files in /proc say 0.
  std::string text(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t size = 0;
  while (true) {
    if (size == text.size()) text.resize(2 * text.size() + 4096);
    const ssize_t count = ::read(file.number(), text.data() + size, text.size() - size);
    if (count == 0) break;
    if (count > 0) {
      size += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      fail_file(path, "cannot read", errno);
    }
  }
  text.resize(size);
  return text;
}

}  // namespace unroll
