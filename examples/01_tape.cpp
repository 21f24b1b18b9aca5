// A tape: operations append to it, and it is read both ways. Right to left it gives gradients, left
// to right tangents.
#include <unroll/autograd/inspect.hpp>
#include <unroll/autograd/transforms.hpp>
#include <unroll/examples/check.hpp>

#include <iostream>

using namespace unroll;

int main() {
  examples::Checks checks;

  // f(x, y) = x y + sin x, recorded because x and y are leaves of the tape.
  Tape<double> tape;
  const auto x = tape.leaf(2.0);
  const auto y = tape.leaf(3.0);
  const auto f = x * y + sin(x);

  fmt::print("f(2, 3) = x y + sin x = {:.6f}. Its tape, oldest first:\n", f.item());
  std::cout << to_text(tape, {{x, "x"}, {y, "y"}}) << std::flush;

  // One reading from the right gives the derivatives by all leaves.
  const auto gradient = tape.pullback(f);
  fmt::print("read from the right:\n");
  checks.near("df/dx = y + cos x", gradient(x).item(), 3 + std::cos(2.0), 1e-14);
  checks.near("df/dy = x", gradient(y).item(), 2, 1e-14);

  // One reading from the left gives the derivative in one direction.
  const auto tangent = tape.pushforward({{x, 1.0}, {y, 10.0}}, f);
  fmt::print("read from the left, with dx = 1 and dy = 10:\n");
  checks.near("df = df/dx dx + df/dy dy", tangent.item(), 3 + std::cos(2.0) + 20, 1e-14);

  // The reading can itself be recorded, and the longer tape be read again.
  const auto dfdx = tape.recorded_pullback(f)(x);
  fmt::print("a reading that was recorded, read again:\n");
  checks.near("d2f/dx2 = -sin x", tape.pullback(dfdx)(x).item(), -std::sin(2.0), 1e-14);
  checks.near("d2f/dxdy = 1", tape.pullback(dfdx)(y).item(), 1, 1e-14);

  // Data decides what is recorded: constants leave no trace.
  const Var<double> constant = tanh(Var<double>(0.5));
  fmt::print("a Var that no leaf reaches is {}tracked\n", constant.is_tracked() ? "" : "not ");

  // Who only wants the numbers needs no tape of their own.
  const auto g = [](const Var<double>& a) { return a * 3.0 + sin(a); };
  checks.near("grad(f)(2)", grad(g)(2.0).item(), 3 + std::cos(2.0), 1e-14);
  checks.near("grad(grad(f))(2)", grad(grad(g))(2.0).item(), -std::sin(2.0), 1e-14);
  return checks.exit_code();
}
