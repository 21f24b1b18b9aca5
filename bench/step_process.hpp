// A runner whose steps another process takes (see step_wire.hpp): while it works this one waits, and the other way round.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "unroll/bench/runner.hpp"
#include "unroll/bench/step_wire.hpp"

namespace unroll::bench {

class StepProcess : public Runner {
 public:
  StepProcess(std::string runner_name, const std::filesystem::path& program,
              std::vector<std::string> arguments, Clock clock, int thread_count)
      : Runner(std::move(runner_name), thread_count), clock_(clock) {
    arguments.insert(arguments.begin(), program.string());
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    // Read when the other's BLAS is loaded; this process has settled its own number.
    for (const char* variable : {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"})
      setenv(variable, std::to_string(thread_count).c_str(), 1);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw std::runtime_error("no socket for " + name);
    child_ = fork();
    if (child_ == 0) {
      dup2(ends[1], STDIN_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    socket_ = ends[0];
  }
  StepProcess(const StepProcess&) = delete;
  StepProcess& operator=(const StepProcess&) = delete;
  ~StepProcess() override {
    close(socket_);  // the other's end of input, at which it leaves
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }

  Turn run(int steps, double rate) override {
    const StepReply r = ask(steps, rate);
    return {r.loss, clock_ == Clock::cpu ? r.cpu_seconds : r.wall_seconds};
  }
  Cost cost(double rate) override {
    constexpr int steps = 2;
    const StepReply r = ask(steps, rate);
    return {r.peak_bytes, static_cast<double>(r.allocations) / steps};
  }

 private:
  StepReply ask(int steps, double rate) {
    const StepRequest request{rate, steps};
    StepReply reply;
    if (send(socket_, &request, sizeof request, MSG_NOSIGNAL) != sizeof request ||
        !receive(socket_, reply)) {
      throw std::runtime_error(name + ": its process has ended");
    }
    return reply;
  }
  Clock clock_;
  pid_t child_ = -1;
  int socket_ = -1;
};

}  // namespace unroll::bench
