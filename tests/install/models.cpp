// A program of a user of the installed models: the notes' network, its gradients by hand and by the
// tape, and a reader of text. It returns 0 only if every number is right.
//
//   c++ -std=c++20 models.cpp $(pkg-config --cflags --libs unroll-models)
#include <cstdio>
#include <unroll/models/hand_and_tape.hpp>
#include <unroll/models/training/progress.hpp>

using namespace unroll;

int main() {
  const auto k = split<3>(Key(1));
  const auto cell = Elman<double>::make(k[0], 3, 5);
  const NotesRnn<double> net{cell.U, cell.W, cell.b, glorot_uniform<double>(k[1], {2, 5}),
                             zeros<double>({2})};
  const auto xs = uniform<double>(k[2], {7, 4, 3}, -1, 1);
  const auto ys = one_hot<double>(randint(Key(2), {7, 4}, 0, 2), 2);
  const auto state = cell.initial_state(4);
  const auto difference = compare_gradients(gradients_by_hand(net, xs, ys, state),
                                            gradients_by_tape(net, xs, ys, state), 1e-12);
  if (!difference.ok()) {
    std::printf("hand and tape differ by %.3g\n", difference.worst());
    return 1;
  }
  std::printf("by hand and by the tape: %.1e\n", difference.worst());
  return 0;
}
