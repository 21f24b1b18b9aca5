#include "unroll/nn/sequence.hpp"

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/cells.hpp"

namespace unroll::detail {
namespace {

// One row of one step: a sequence's element at one time.
template <class T>
struct Row {
  Size H;
  const T* input;    // of the projection [gates·H]
  T* gate;           // W h, replaced by what the sweep needs of the gates [gates·H]
  T* extra;          // what else it needs [H]
  const T *h0, *c0;  // the state before
  T *h1, *c1;        // and after
  const T* bias;
};
// Its cotangents.
template <class T>
struct RowSweep {
  T* dh;       // of h1, complete
  T* dh0;      // of h0: what does not pass through W is added
  T* dc;       // of c1, replaced by that of c0
  T* d_input;  // of the projection; may be the gates' own memory
  T* d_gate;   // of W h, where it differs
};

}  // namespace

// a_t = φ(projected + W a_{t-1})
template <class Activation>
struct ElmanSteps {
  static constexpr Size gates = 1;
  static constexpr bool extra = false, cell_state = false, biased = false;
  template <class T>
  static void forward(const Row<T>& r) {
    for_each_lane<T>(r.H, [&](auto load, auto store) {
      const Lane<T> z = load(r.input) + load(r.gate);
      store(r.gate, z), store(r.h1, Activation::f(z));
    });
  }
  template <class T>
  static void backward(const Row<T>& r, const RowSweep<T>& d) {
    for_each_lane<T>(r.H, [&](auto load, auto store) {
      store(d.d_input, Activation::d(wrt<0>{}, load(r.h1), load(r.gate)) * load(d.dh));
    });
  }
  template <class T>
  static Sequence<T> step(const Var<T>& projected, const std::vector<Var<T>>& x,
                          const Sequence<T>& s) {
    return {{}, activate_sum<Activation>(projected, linear(s.h, x[1])), {}};
  }
};

// c_t = σ(f) c_{t-1} + σ(i) tanh(g),   h_t = σ(o) tanh(c_t);   extra: tanh(c_t)
struct LstmSteps {
  static constexpr Size gates = 4;
  static constexpr bool extra = true, cell_state = true, biased = false;
  template <class T>
  static void forward(const Row<T>& r) {
    const Size H = r.H;
    const T* p = r.input;
    T* z = r.gate;
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> i = sigmoid(load(p) + load(z)), f = sigmoid(load(p + H) + load(z + H));
      const Lane<T> g = tanh(load(p + 2 * H) + load(z + 2 * H));
      const Lane<T> o = sigmoid(load(p + 3 * H) + load(z + 3 * H));
      const Lane<T> c = f * load(r.c0) + i * g, y = tanh(c);
      store(z, i), store(z + H, f), store(z + 2 * H, g), store(z + 3 * H, o);
      store(r.c1, c), store(r.extra, y), store(r.h1, o * y);
    });
  }
  template <class T>
  static void backward(const Row<T>& r, const RowSweep<T>& d) {
    const Size H = r.H;
    const T* z = r.gate;
    T* out = d.d_input;
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> i = load(z), f = load(z + H), g = load(z + 2 * H), o = load(z + 3 * H);
      const Lane<T> y = load(r.extra), dh = load(d.dh), dc = load(d.dc) + dh * o * (1 - y * y);
      const Lane<T> zf = dc * load(r.c0) * f * (1 - f);
      store(out, dc * g * i * (1 - i)), store(out + H, zf);
      store(out + 2 * H, dc * i * (1 - g * g)), store(out + 3 * H, dh * y * o * (1 - o));
      store(d.dc, dc * f);
    });
  }
  template <class T>
  static Sequence<T> step(const Var<T>& projected, const std::vector<Var<T>>& x,
                          const Sequence<T>& s) {
    auto next = lstm_gates(projected + linear(s.h, x[1]), s.c);
    return {{}, std::move(next.h), std::move(next.c)};
  }
};

// n = tanh(x_n + σ(r) h_n),   h_t = n + σ(z) (h_{t-1} - n);   extra: h_n, which has a bias of its own
struct GruSteps {
  static constexpr Size gates = 3;
  static constexpr bool extra = true, cell_state = false, biased = true;
  template <class T>
  static void forward(const Row<T>& r) {
    const Size H = r.H;
    const T *p = r.input, *b = r.bias;
    T* s = r.gate;
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> reset = sigmoid(load(p) + (load(s) + load(b)));
      const Lane<T> z = sigmoid(load(p + H) + (load(s + H) + load(b + H)));
      const Lane<T> inner = load(s + 2 * H) + load(b + 2 * H);
      const Lane<T> n = tanh(load(p + 2 * H) + reset * inner);
      store(s, reset), store(s + H, z), store(s + 2 * H, n), store(r.extra, inner);
      store(r.h1, n + z * (load(r.h0) - n));
    });
  }
  template <class T>
  static void backward(const Row<T>& r, const RowSweep<T>& d) {
    const Size H = r.H;
    const T* s = r.gate;
    for_each_lane<T>(H, [&](auto load, auto store) {
      const Lane<T> reset = load(s), z = load(s + H), n = load(s + 2 * H), dh = load(d.dh);
      const Lane<T> dn = dh * (1 - z) * (1 - n * n), dz = dh * (load(r.h0) - n) * z * (1 - z);
      const Lane<T> dr = dn * load(r.extra) * reset * (1 - reset);
      store(d.dh0, load(d.dh0) + dh * z);
      store(d.d_input, dr), store(d.d_input + H, dz), store(d.d_input + 2 * H, dn);
      store(d.d_gate, dr), store(d.d_gate + H, dz), store(d.d_gate + 2 * H, dn * reset);
    });
  }
  template <class T>
  static Sequence<T> step(const Var<T>& projected, const std::vector<Var<T>>& x,
                          const Sequence<T>& s) {
    return {{}, gru_gates(projected, linear(s.h, x[1], x[3]), s.h), {}};
  }
};

namespace {

// The same sequence from steps: what tangents and higher orders go through. x: projected, W, h0, and c0 or the bias.
template <class Steps, class T>
std::vector<Var<T>> run_in_steps(const std::vector<Var<T>>& x) {
  Sequence<T> s{{}, x[2], Steps::cell_state ? x[3] : Var<T>()};
  std::vector<Var<T>> outputs;
  for (Size t = 0; t < x[0].size(0); ++t) {
    s = Steps::step(index(x[0], 0, t), x, s);
    outputs.push_back(s.h);
  }
  std::vector<Var<T>> results{stack(outputs), s.h};
  if (Steps::cell_state) results.push_back(s.c);
  return results;
}

template <class Steps, class T>
struct SequenceNode {
  static constexpr std::size_t inputs = Steps::cell_state || Steps::biased ? 4 : 3;
  static constexpr std::size_t results = Steps::cell_state ? 3 : 2;

  Size steps, batch, hidden;
  Ref states;  // [T + 1, B, H], for the LSTM twice: h, then c
  Ref gates;   // [T, B, gates·H]
  Ref extra;   // [T, B, H], or nothing
  std::array<Node*, results> result{};

  static SequenceNode& of(Node& n) { return *static_cast<SequenceNode*>(n.op()); }

  Row<T> row(const T* input, const T* bias, Size t, Size b) const {
    const Size H = hidden, G = Steps::gates * H, at = (t * batch + b) * H, below = at + batch * H;
    T* h = states->template data<T>();
    T* c = h + (steps + 1) * batch * H;
    return {H,
            input ? input + (t * batch + b) * G : nullptr,
            gates->template data<T>() + (t * batch + b) * G,
            extra ? extra->template data<T>() + at : nullptr,
            h + at,
            c + at,
            h + below,
            c + below,
            bias};
  }

  void forward(const Block& projected, Block& W, const Block& h0, const Block* other) {
    const Size n = batch * hidden, G = Steps::gates * hidden;
    T* h = states->template data<T>();
    std::copy_n(h0.data<T>(), n, h);
    if (Steps::cell_state) std::copy_n(other->data<T>(), n, h + (steps + 1) * n);
    const T* bias = Steps::biased ? other->data<T>() : nullptr;
    const RightMatrix<T> recurrent(W, true, batch);
    for (Size t = 0; t < steps; ++t) {
      recurrent(h + t * n, hidden, gates->template data<T>() + t * batch * G, G, false);
      for (Size b = 0; b < batch; ++b) Steps::forward(row(projected.data<T>(), bias, t, b));
    }
  }

  // The cotangent of the outputs, of which h_T is one, in memory that may be written.
  Ref output_cotangents(Sweep& sweep) {
    const Size n = batch * hidden;
    Ref d = sweep.take_block<T>(*result[0]);
    const Ref last = sweep.take_block<T>(*result[1]);
    if (!d) {
      d = zeros_block<T>(Shape{steps, batch, hidden});
    } else if (!d->exclusive()) {
      Ref copy = new_block<T>(Shape{steps, batch, hidden});
      std::copy_n(contiguous(d.get())->template data<T>(), steps * n, copy->template data<T>());
      d = std::move(copy);
    }
    if (last) {
      const Ref g = contiguous(last.get());
      T* row = d->template data<T>() + (steps - 1) * n;
      for (Size i = 0; i < n; ++i) row[i] += g->template data<T>()[i];
    }
    return d;
  }

  void backward(Node& n, Sweep& sweep) {
    const Size rows = batch * hidden, G = Steps::gates * hidden;
    Ref dh = output_cotangents(sweep), dh0 = zeros_block<T>(Shape{batch, hidden}), dc;
    if constexpr (Steps::cell_state) {
      dc = sweep.take_block<T>(*result[2]);
      if (!dc) dc = zeros_block<T>(Shape{batch, hidden});
      if (!dc->exclusive()) {
        Ref copy = new_block<T>(Shape{batch, hidden});
        std::copy_n(contiguous(dc.get())->template data<T>(), rows, copy->template data<T>());
        dc = std::move(copy);
      }
    }
    const Shape shape{steps, batch, G};
    Ref d_input = sweep.consumes() ? gates : new_block<T>(shape), d_gate;
    if (Steps::biased) d_gate = new_block<T>(shape);
    const Ref W = contiguous(n.input_block(1));
    T *d = d_input->template data<T>(), *d2 = d_gate ? d_gate->template data<T>() : d;
    const RightMatrix<T> recurrent(*W, false, batch);
    for (Size t = steps; t-- > 0;) {
      T* before = t > 0 ? dh->template data<T>() + (t - 1) * rows : dh0->template data<T>();
      for (Size b = 0; b < batch; ++b) {
        const Size at = (t * batch + b) * hidden, gate = (t * batch + b) * G;
        Steps::backward(
            row(nullptr, nullptr, t, b),
            RowSweep<T>{dh->template data<T>() + at, before + b * hidden,
                        dc ? dc->template data<T>() + b * hidden : nullptr, d + gate, d2 + gate});
      }
      if (t > 0 || sweep.wants(n, 2)) recurrent(d2 + t * batch * G, G, before, hidden, true);
    }
    const Ref d_rows = d_gate ? std::move(d_gate) : d_input;
    if (sweep.wants(n, 1)) {
      const Shape all{steps * batch, G}, before{steps * batch, hidden};
      sweep.add(*n.inputs()[1].node(),
                RowProduct<T>{Var<T>(Handle(new_contiguous_view(d_rows.get(), 0, all))),
                              Var<T>(Handle(new_contiguous_view(states.get(), 0, before)))});
    }
    if (sweep.wants(n, 2)) sweep.add_block<T>(*n.inputs()[2].node(), std::move(dh0));
    if (inputs > 3 && sweep.wants(n, 3)) {
      Node& other = *n.inputs()[3].node();
      if (Steps::cell_state) {
        sweep.add_block<T>(other, std::move(dc));
      } else {
        sweep.add(other, Broadcasted<T>{Var<T>(Handle(d_rows))});
      }
    }
    if (sweep.wants(n, 0)) sweep.add_block<T>(*n.inputs()[0].node(), std::move(d_input));
  }

  static std::vector<Var<T>> input_vars(Node& n, const Sweep& sweep) {
    std::vector<Var<T>> x;
    for (std::size_t i = 0; i < inputs; ++i) x.push_back(sweep.input<T>(n, i));
    return x;
  }
  static void sweep(Node& n, Sweep& sweep) {
    SequenceNode& s = of(n);
    bool any = false;
    for (Node* r : s.result) any = any || r->slot;
    if (any && !sweep.recorded()) {
      s.backward(n, sweep);
    } else if (any) {
      std::array<Var<T>, results> g;
      for (std::size_t k = 0; k < results; ++k) g[k] = sweep.take<T>(*s.result[k]);
      const auto weighted = [&](const std::vector<Var<T>>& x) {
        const std::vector<Var<T>> y = run_in_steps<Steps>(x);
        Var<T> total(0);
        for (std::size_t k = 0; k < results; ++k) {
          if (!g[k].empty()) total = total + sum(y[k] * g[k]);
        }
        return total;
      };
      const std::vector<Var<T>> d = grad(weighted)(input_vars(n, sweep));
      for (std::size_t i = 0; i < inputs; ++i) {
        if (sweep.wants(n, i)) sweep.add(*n.inputs()[i].node(), d[i]);
      }
    }
    for (Node* r : s.result) sweep.free_value(*r);
  }
  static void push(Node& n, Push& push) {
    const std::vector<Var<T>> x = input_vars(n, push.values());
    std::vector<Var<T>> t;
    bool any = false;
    for (std::size_t i = 0; i < inputs; ++i) {
      t.push_back(push.input_tangent<T>(n, i));
      any = any || !t[i].empty();
      if (t[i].empty()) t[i] = zeros<T>(x[i].shape());
    }
    if (!any) return;
    const auto run = jvp([](const std::vector<Var<T>>& v) { return run_in_steps<Steps>(v); }, x, t);
    for (std::size_t k = 0; k < results; ++k) push.set(*of(n).result[k], run.tangent[k]);
  }
  static void destroy(Node& n) { of(n).~SequenceNode(); }
  static constexpr OpTable table{"sequence", sweep, push, destroy, OpTable::Kind::several};
};

}  // namespace

template <class Steps, FloatOrDouble T>
std::optional<Sequence<T>> sequence(const Var<T>& projected, const Var<T>& W, const Var<T>& h,
                                    const Var<T>& other) {
  using S = SequenceNode<Steps, T>;
  const std::array<const Var<T>*, 4> x{&projected, &W, &h, &other};
  std::array<Ref, 4> block;
  TapeState* state = nullptr;
  for (std::size_t i = 0; i < S::inputs; ++i) {
    block[i] = contiguous(x[i]->handle().block());
    state = join(state, x[i]->handle().tape());
  }
  const Size H = W.rank() == 2 ? W.size(1) : 0;
  const Shape shape = projected.shape();
  if (shape.rank() != 3 || shape.size() == 0 || shape[2] != Steps::gates * H) return {};
  const Size T_ = shape[0], B = shape[1];
  const Shape row{B, H}, bias{Steps::gates * H};
  if (!(W.shape() == Shape{Steps::gates * H, H}) || !(h.shape() == row)) return {};
  if (S::inputs == 4 && !(other.shape() == (Steps::biased ? bias : row))) return {};

  S s{T_,
      B,
      H,
      new_block<T>(Shape{Steps::cell_state ? 2 : 1, T_ + 1, B, H}),
      new_block<T>(shape),
      Steps::extra ? new_block<T>(Shape{T_, B, H}) : Ref()};
  s.forward(*block[0], *block[1], *block[2], block[3].get());
  const Size n = B * H;
  const std::array<Ref, 3> values{
      new_contiguous_view(s.states.get(), n, Shape{T_, B, H}),
      new_contiguous_view(s.states.get(), T_ * n, row),
      Steps::cell_state ? new_contiguous_view(s.states.get(), (2 * T_ + 1) * n, row) : Ref()};
  if (!state) {
    return Sequence<T>{Var<T>(Handle(values[0])), Var<T>(Handle(values[1])),
                       Var<T>(Handle(values[2]))};
  }
  auto* tape = static_cast<TapeCore*>(state);
  Node* node = tape->record(&S::table, S::inputs, sizeof(S), nullptr);
  for (std::size_t i = 0; i < S::inputs; ++i) tape->set_input(node, i, x[i]->handle());
  S& recorded = *new (node->op()) S(std::move(s));
  std::array<Var<T>, 3> out;
  for (std::size_t k = 0; k < S::results; ++k) {
    Node* r = tape->record(&result_table, 1, 0, Ref(values[k]).give());
    r->inputs()[0] = Input(node);
    recorded.result[k] = r;
    out[k] = Var<T>(Handle(r, tape));
  }
  return Sequence<T>{out[0], out[1], out[2]};
}

namespace {
// Naming a function makes the compiler emit it.
template <class T, class... Steps>
constexpr auto all_cells = std::tuple{&sequence<Steps, T>...};
[[gnu::used]] constinit auto floats =
    all_cells<float, ElmanSteps<Tanh>, ElmanSteps<Relu>, LstmSteps, GruSteps>;
[[gnu::used]] constinit auto doubles =
    all_cells<double, ElmanSteps<Tanh>, ElmanSteps<Relu>, LstmSteps, GruSteps>;
}  // namespace

}  // namespace unroll::detail
