// A program of a user of the installed models: the gradients of an LSTM by hand and by the tape, and
// a file that gzip has packed. It returns 0 only if both are right.
//
//   c++ -std=c++20 models.cpp $(pkg-config --cflags --libs unroll-models)
#include <cstdio>
#include <string>
#include <unroll/models/data/gzip.hpp>
#include <unroll/models/hand_and_tape.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;

int main() {
  constexpr Size steps = 12, batch = 3, inputs = 4, hidden = 8, classes = 3;
  const auto keys = split<4>(Key(1));
  const CellNetwork<double, Lstm<double>> net{Lstm<double>::make(keys[0], inputs, hidden),
                                              glorot_uniform<double>(keys[1], {classes, hidden}),
                                              zeros<double>({classes})};
  const auto xs = uniform<double>(keys[2], {steps, batch, inputs}, -1, 1);
  const auto ys = one_hot<double>(randint(keys[3], {steps, batch}, 0, classes), classes);
  const auto state = net.cell.initial_state(batch);
  const auto comparison = compare_gradients(gradients_by_hand(net, xs, ys, state),
                                            gradients_by_tape(net, xs, ys, state), 1e-12);
  std::printf("by hand and by the tape: off by %.1e\n", comparison.worst());

  constexpr unsigned char packed[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
                                      0x03, 0x2b, 0xcd, 0x2b, 0xca, 0xcf, 0xc9, 0x01, 0x00,
                                      0x2f, 0x19, 0xde, 0xc3, 0x06, 0x00, 0x00, 0x00};
  const std::string text = gunzip({reinterpret_cast<const char*>(packed), sizeof packed}, "bytes");
  std::printf("unpacked: %s\n", text.c_str());
  return comparison.ok() && text == "unroll" ? 0 : 1;
}
