// What rnn_step and a program that takes training steps for it in a process of its own say to each other: over the socket
// that is the other's standard input, a request is answered by a reply, until the socket is closed.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <type_traits>

namespace unroll::bench {

struct StepRequest {
  double rate;
  std::int64_t steps;
};
struct StepReply {
  double loss;                       // of the last step
  double cpu_seconds, wall_seconds;  // of all of them
  std::int64_t peak_bytes;   // so far, beyond what the program had before it saw the problem
  std::int64_t allocations;  // during these steps
};

// All bytes of one message; false when the other end is gone.
template <class Message>
bool receive(int socket, Message& message) {
  static_assert(std::is_trivially_copyable_v<Message>);
  auto* to = reinterpret_cast<char*>(&message);
  for (std::size_t have = 0; have < sizeof message;) {
    const auto n = read(socket, to + have, sizeof message - have);
    if (n <= 0) return false;
    have += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace unroll::bench
