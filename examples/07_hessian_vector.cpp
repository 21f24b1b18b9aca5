// Curvature without a Hessian: ∇²L·v through a 30-step LSTM costs a few gradients, whichever way
// the two derivatives are stacked. Power iteration with it finds the sharpest direction of the
// loss.
#include <unroll/autograd/random.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/models/rnn.hpp>
#include <unroll/nn/cells.hpp>

using namespace unroll;

using Net = CellNetwork<double, Lstm<double>>;

double dot_of(const Net& a, const Net& b) { return tree_dot<double>(a, b).item(); }
Net normalized(const Net& v) { return tree_scale(v, 1 / std::sqrt(dot_of(v, v))); }

int main() {
  const Size steps = 30, batch = 4, inputs = 3, hidden = 8, classes = 4;
  const auto k = split<5>(Key(7));
  const Net net{Lstm<double>::make(k[0], inputs, hidden), normal<double>(k[1], {classes, hidden}),
                zeros<double>({classes})};
  const auto xs = normal<double>(k[2], {steps, batch, inputs});
  const auto ys = one_hot<double>(randint(k[3], {steps, batch}, 0, classes), classes);
  const auto loss = [&](const Net& n) { return n.loss(xs, ys, n.cell.initial_state(batch)); };
  int at = 0;
  Net v = normalized(
      tree_map([&](const auto& p) { return normal<double>(fold_in(k[4], ++at), p.shape()); }, net));
  fmt::print("an LSTM over {} steps, {} parameters, loss {:.4f}\n", steps, parameter_count(net),
             loss(net).item());

  // Forward over reverse: the tangent of the gradient. Reverse over reverse: the gradient of ∇L·v.
  const Net forward = hvp(loss, net, v);
  const Net reverse = grad([&](const Net& n) { return tree_dot<double>(grad(loss)(n), v); })(net);
  examples::Checks checks;
  const Net difference = tree_add(forward, tree_scale(reverse, -1));
  checks.at_most("the two ways differ by, relative",
                 std::sqrt(dot_of(difference, difference) / dot_of(forward, forward)), 1e-10);

  // v ← Hv / |Hv| turns to the eigenvector whose eigenvalue is largest in size.
  fmt::print("power iteration, curvature v·Hv:\n");
  double curvature = 0;
  for (int i = 1; i <= 60; ++i) {
    const Net Hv = hvp(loss, net, v);
    curvature = dot_of(v, Hv);
    if (i % 15 == 0 || i == 1) fmt::print("  {:>3}  {:.8f}\n", i, curvature);
    v = normalized(Hv);
  }
  const Net Hv = hvp(loss, net, v);
  const Net rest = tree_add(Hv, tree_scale(v, -dot_of(v, Hv)));
  checks.at_most("|Hv - λv| / |λ|", std::sqrt(dot_of(rest, rest)) / std::abs(curvature), 1e-2);

  // The same curvature from three losses along v.
  const double h = 1e-3;
  const auto along = [&](double e) { return loss(tree_add(net, tree_scale(v, e))).item(); };
  checks.near("second difference of the loss along v",
              (along(h) - 2 * along(0) + along(-h)) / (h * h), dot_of(v, Hv), 1e-5);
  return checks.exit_code();
}
