#include "unroll/models/training/run_program.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <system_error>
#include <thread>

extern char** environ;

namespace unroll {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

std::string reason(int error) { return std::generic_category().message(error); }

std::string contents(std::FILE* file) {
  std::string text;
  std::array<char, 65536> buffer{};
  std::rewind(file);
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file)) {
    text.append(buffer.data(), count);
  }
  return text;
}

// The wait status, or nothing where the time is up; then the program is ended.
bool wait_for(pid_t child, double seconds, int& status) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return true;
    if (ended < 0 && errno != EINTR) return false;
    if (Clock::now() > end) {
      ::kill(child, SIGKILL);
      while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

std::string first_lines(std::string text) {
  constexpr std::size_t longest = 400;
  if (text.size() > longest) text = text.substr(0, longest) + "...";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& command, std::string_view input,
                          double seconds) {
  const std::array files{File(std::tmpfile()), File(std::tmpfile()), File(std::tmpfile())};
  for (const File& file : files) {
    if (!file) return {ProgramStatus::failed, "", "no temporary file: " + reason(errno)};
  }
  const auto& [in, out, errors] = files;
  if (std::fwrite(input.data(), 1, input.size(), in.get()) != input.size() ||
      std::fflush(in.get()) != 0) {
    return {ProgramStatus::failed, "", "cannot write a temporary file: " + reason(errno)};
  }
  std::rewind(in.get());

  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int number = 0; number < 3; ++number) {
    posix_spawn_file_actions_adddup2(
        &actions, ::fileno(files[static_cast<std::size_t>(number)].get()), number);
  }
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    const bool is_missing = error == ENOENT || error == EACCES || error == ENOTDIR;
    return {is_missing ? ProgramStatus::missing : ProgramStatus::failed, "", reason(error)};
  }

  int status = 0;
  if (!wait_for(child, seconds, status)) {
    return {ProgramStatus::failed, "", "ended: it took too long"};
  }
  ProgramResult result{ProgramStatus::failed, contents(out.get()),
                       first_lines(contents(errors.get()))};
  if (WIFSIGNALED(status)) {
    result.problem = "ended by signal " + std::to_string(WTERMSIG(status));
  } else if (WEXITSTATUS(status) == 127 && result.output.empty()) {
    result.status = ProgramStatus::missing;  // how some systems say it
  } else if (WEXITSTATUS(status) == 0) {
    result.status = ProgramStatus::succeeded;
  } else if (result.problem.empty()) {
    result.problem = "exit code " + std::to_string(WEXITSTATUS(status));
  }
  return result;
}

}  // namespace unroll
