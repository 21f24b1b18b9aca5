// A program of a user of the installed library: an elementwise, a linear and a general op of their
// own, with second derivatives; a cell of their own with fuse, trained. It returns 0 only if every
// number is right.
//
//   c++ -std=c++20 user.cpp $(pkg-config --cflags --libs unroll)
#include <cmath>
#include <cstdio>
#include <unroll/autograd/autograd.hpp>
#include <unroll/autograd/check.hpp>
#include <unroll/autograd/inspect.hpp>
#include <unroll/autograd/xtensor.hpp>
#include <unroll/nn/nn.hpp>

namespace user {

using unroll::Var, unroll::wrt;

// x sin x, elementwise: the function and its derivative.
struct XSinX {
  static constexpr auto name = "x_sin_x";
  static auto f(const auto& x) { return x * sin(x); }
  static auto d(wrt<0>, const auto&, const auto& x) { return sin(x) + x * cos(x); }
};
template <class T>
Var<T> x_sin_x(const Var<T>& x) {
  return unroll::apply<XSinX>(x);
}

// Each element minus its neighbour to the left, along the first axis: linear, so the function and
// its adjoint.
struct Difference {
  static constexpr auto name = "difference";
  auto f(const auto& x) const {
    const unroll::Size n = x.size(0);
    return slice(x, 0, {1, n}) - slice(x, 0, {0, n - 1});
  }
  auto adjoint(wrt<0>, const auto& g, const auto&) const {
    return pad(g, 0, 1, 0) - pad(g, 0, 0, 1);
  }
};

// exp(x) / Σ exp(x) of a vector: neither, so the function and its vjp.
struct Shares {
  static constexpr auto name = "shares";
  auto f(const auto& x) const {
    const auto e = exp(x - max(x));
    return e / sum(e);
  }
  auto vjp(wrt<0>, const auto& g, const auto& y, const auto&) const { return y * (g - sum(g * y)); }
};

// A cell that keeps what its gate does not let in.
struct Cell {
  unroll::Linear<double> input;
  Var<double> recurrent;
  static constexpr auto fields() {
    return std::tuple{unroll::field("input", &Cell::input),
                      unroll::field("recurrent", &Cell::recurrent)};
  }
  Var<double> operator()(const Var<double>& x, const Var<double>& a) const {
    const auto z = unroll::split<2>(input(x) + linear(a, recurrent), -1);
    return unroll::fuse(
        [](auto gate, auto candidate, auto old) {
          const auto open = sigmoid(gate);
          return old + open * (tanh(candidate) - old);
        },
        z[0], z[1], a);
  }
};
struct Model {
  Cell cell;
  unroll::Linear<double> output;
  static constexpr auto fields() {
    return std::tuple{unroll::field("cell", &Model::cell), unroll::field("output", &Model::output)};
  }
};

}  // namespace user

namespace {

int failures = 0;
void check(const char* what, bool right) {
  if (!right) {
    std::printf("wrong: %s\n", what);
    ++failures;
  }
}
template <class A, class B>
void check_close(const char* what, const A& a, const B& b, double tolerance) {
  const double worst = xt::amax(xt::abs(xt::eval(a - b)))();
  if (!(worst <= tolerance)) std::printf("%s: off by %.3g\n", what, worst);
  check(what, worst <= tolerance);
}

using unroll::Var;
using Array = xt::xarray<double>;

void check_elementwise_op() {
  const Array x = {-2.0, -0.3, 0.0, 0.7, 3.0};
  const auto f = [](const Var<double>& v) { return sum(user::x_sin_x(v)); };
  check_close("x sin x", user::x_sin_x(Var<double>(x)).value(), x * xt::sin(x), 1e-14);
  check_close("its derivative", unroll::grad(f)(x).value(), xt::sin(x) + x * xt::cos(x), 1e-14);
  check_close("its second derivative", unroll::hvp(f, x, Array(xt::ones_like(x))).value(),
              2 * xt::cos(x) - x * xt::sin(x), 1e-14);
  const auto fused =
      unroll::fuse([](auto v) { return unroll::apply<user::XSinX>(v) * 2; }, Var<double>(x));
  check_close("the op in a fused function", fused.value(), 2 * x * xt::sin(x), 1e-14);
}

void check_linear_op() {
  const Array x = {1, 4, 9, 16, 25};
  const auto f = [](const Var<double>& v) {
    const Var<double> d = unroll::apply(user::Difference{}, v);
    return sum(d * d * d);
  };
  check_close("difference", unroll::apply(user::Difference{}, Var<double>(x)).value(),
              Array{3, 5, 7, 9}, 0);
  check_close("its gradient", unroll::grad(f)(x).value(),
              Array{-27, 27 - 75, 75 - 147, 147 - 243, 243}, 1e-12);
  // The Hessian of Σ d³ along e_0 is 6 d_0 (e_0 - e_1).
  check_close("its second derivative", unroll::hvp(f, x, Array{1, 0, 0, 0, 0}).value(),
              Array{18, -18, 0, 0, 0}, 1e-12);
}

void check_general_op() {
  const Array x = {0.5, -1.0, 2.0}, weights = {1, 2, 4};
  const auto f = [&](const Var<double>& v) {
    return sum(unroll::apply(user::Shares{}, v) * weights);
  };
  const auto library = [&](const Var<double>& v) { return sum(softmax(v) * weights); };
  check_close("shares", unroll::apply(user::Shares{}, Var<double>(x)).value(),
              softmax(Var<double>(x)).value(), 1e-15);
  check_close("its gradient", unroll::grad(f)(x).value(), unroll::grad(library)(x).value(), 1e-15);
  check_close("its second derivatives", unroll::hessian(f, x).value(),
              unroll::hessian(library, x).value(), 1e-14);
}

void check_all_orders() {
  const Var<double> x({4}, {0.5, -1.0, 2.0, 0.1});
  unroll::check_grads([](const Var<double>& v) { return user::x_sin_x(v); }, x);
  unroll::check_grads([](const Var<double>& v) { return unroll::apply(user::Difference{}, v); }, x);
  unroll::check_grads([](const Var<double>& v) { return unroll::apply(user::Shares{}, v); }, x);
}

void check_interop() {
  const Array a = {{1, 2}, {3, 4}};
  const auto [value, gradient] = unroll::value_and_grad(
      [&](const Var<double>& v) { return sum(a * v + xt::view(a, 0) / v); }, Array(a + 1));
  check_close("a formula of both", gradient.value(), a - xt::view(a, 0) / ((a + 1) * (a + 1)),
              1e-14);
  unroll::Tape<double> tape;
  const Var<double> x = tape.leaf(a);
  const Var<double> y = tanh(x) * a;
  check("the tape as text", to_text(tape).find("tanh") != std::string::npos);
  check("the tape as a picture", to_dot(tape, {.steps = {y}}).find("t = 1") != std::string::npos);
}

// Was the sum of the first inputs of a sequence positive? The cell must remember.
void check_training() {
  constexpr unroll::Size steps = 8, batch = 32, hidden = 6;
  const auto keys = unroll::split<4>(unroll::Key(7));
  user::Model model{{unroll::Linear<double>::make(keys[0], 1, 2 * hidden),
                     unroll::glorot_uniform<double>(keys[1], {2 * hidden, hidden})},
                    unroll::Linear<double>::make(keys[2], hidden, 1)};
  const Array xs = unroll::normal<double>(keys[3], {steps, batch, 1}).value();
  const Array early = xt::sum(xt::view(xs, xt::range(0, 3)), {0});
  const Array targets = xt::cast<double>(early > 0);

  const auto loss = [&](const user::Model& m) {
    const auto run =
        unroll::unroll(m.cell, Var<double>(xs), unroll::zeros<double>({batch, hidden}));
    return binary_cross_entropy_with_logits(m.output(run.state), Var<double>(targets));
  };
  unroll::Adam adam(model, {.learning_rate = 0.03});
  const double before = loss(model).item();
  for (int i = 0; i < 120; ++i) {
    const auto result = unroll::value_and_grad(loss, model);
    adam.step(model, unroll::clip_by_norm(result.gradient, 5.0));
  }
  const double after = loss(model).item();
  std::printf("training: loss %.4f -> %.4f\n", before, after);
  check("training reduces the loss", after < 0.3 * before);
}

}  // namespace

int main() {
  check_elementwise_op();
  check_linear_op();
  check_general_op();
  check_all_orders();
  check_interop();
  check_training();
  if (failures == 0) std::printf("all numbers are right\n");
  return failures == 0 ? 0 : 1;
}
