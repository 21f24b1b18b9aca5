// A recurrent cell of one's own: a struct with fields() and a call operator. Its elementwise part
// is one fused node, its gradient a struct of the same type; `unroll` and Adam take it as they take
// the library's cells.
//
// The task: the running average of what has come in so far, with a rate that the network has to
// find out by itself.
#include <unroll/autograd/elementwise.hpp>
#include <unroll/examples/check.hpp>
#include <unroll/nn/nn.hpp>

using namespace unroll;

// A minimal gated unit: one gate f decides how much of the old state stays.
//   f = σ(U_f x + W_f a + b_f),   n = tanh(U_n x + W_n a + b_n),   a' = f a + (1 - f) n
template <class T>
struct MinimalGated {
  Var<T> U, W, b;  // [2H, I], [2H, H], [2H]: the rows of f, then those of n
  static constexpr auto fields() {
    return std::tuple{field("U", &MinimalGated::U), field("W", &MinimalGated::W),
                      field("b", &MinimalGated::b)};
  }

  Var<T> operator()(const Var<T>& x, const Var<T>& a) const {
    return fuse(
        [](auto zf, auto zn, auto before) {
          auto keep = sigmoid(zf);
          return keep * before + (1 - keep) * tanh(zn);
        },
        parts<2>(linear(x, U) + linear(a, W, b)), a);
  }
};

template <class T>
struct Network {
  MinimalGated<T> cell;
  Linear<T> out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &Network::cell), field("out", &Network::out)};
  }

  Var<T> loss(const Var<T>& xs, const Var<T>& ys) const {
    const auto a0 = zeros<T>({xs.size(1), cell.W.size(1)});
    return mse(out(unroll::unroll(cell, xs, a0).outputs), ys);
  }
};

// Averages with rate 0.1 of noise: y_t = 0.9 y_{t-1} + 0.1 x_t.
std::pair<Var<float>, Var<float>> batch(const Key& key) {
  const Var<float> xs = normal<float>(key, {25, 32, 1});
  Var<float> y = zeros<float>({32, 1});
  std::vector<Var<float>> ys;
  for (const auto& x : unbind(xs)) ys.push_back(y = 0.9 * y + 0.1 * x);
  return {xs, stack(ys)};
}

int main() {
  const Size hidden = 12;
  const auto k = split<4>(Key(2026));
  Network<float> net{
      {glorot_uniform<float>(k[0], {2 * hidden, 1}),
       glorot_uniform<float>(k[1], {2 * hidden, hidden}), zeros<float>({2 * hidden})},
      Linear<float>::make(k[2], hidden, 1)};
  const auto [test_xs, test_ys] = batch(fold_in(k[3], 0));
  fmt::print("a cell with {} parameters; the error of always answering 0 is {:.5f}\n",
             parameter_count(net), mean(square(test_ys)).item());

  Adam adam(net, {.learning_rate = 0.01});
  for (int step = 1; step <= 400; ++step) {
    const auto [xs, ys] = batch(fold_in(k[3], step));
    const auto [loss, gradient] =
        value_and_grad([&x = xs, &y = ys](const Network<float>& n) { return n.loss(x, y); }, net);
    adam.step(net, clip_by_norm(gradient, 1.0));
    if (step % 100 == 0) fmt::print("  step {}: loss {:.5f}\n", step, loss.item());
  }
  examples::Checks checks;
  checks.at_most("error on sequences not seen before", net.loss(test_xs, test_ys).item(), 0.002);
  return checks.exit_code();
}
