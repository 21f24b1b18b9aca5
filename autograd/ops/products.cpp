// Matrix products.
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll {
namespace {

using detail::Block;
using detail::Handle;
using detail::Input;
using detail::Matrix;
using detail::Node;
using detail::Ref;
using detail::Strides;
using detail::Sweep;
using detail::TapeCore;

// A vector or matrix by its steps; a vector is a row (on the left) or a column (on the right).
template <class T>
Matrix<T> matrix(const Block* b, bool column_vector = false) {
  Strides s{};
  b->get_strides(s.data());
  if (b->rank == 1) {
    return column_vector ? Matrix<T>{b->data<T>(), s[0], 1} : Matrix<T>{b->data<T>(), 0, s[0]};
  }
  return {b->data<T>(), s[0], s[1]};
}

template <class T>
Var<T> as_matrix(const Var<T>& x, Size rows, Size columns) {
  return x.rank() == 2 ? x : reshape(x, Shape{rows, columns});
}

// Of vectors and matrices.
struct MatMul {
  static constexpr auto name = "matmul";
  template <class T>
  Block* value(TapeCore* tape, Block& x, Block& y) const {
    const Size m = x.rank == 1 ? 1 : x.sizes()[0], k = x.sizes()[x.rank - 1u];
    const Size n = y.rank == 1 ? 1 : y.sizes()[1];
    Size sizes[2];
    std::size_t rank = 0;
    if (x.rank == 2) sizes[rank++] = m;
    if (y.rank == 2) sizes[rank++] = n;
    if ((m | n) >> 30) [[unlikely]]  // of operands that are broadcast
      detail::check_size("matmul", Shape::checked(sizes, rank));
    Block* out = detail::new_result<T>(tape, sizes, rank);
    if (y.rank == 2 && y.contiguous) {
      detail::gemm_by_matrix(m, matrix<T>(&x), y, false, out->data<T>(), n);
    } else {
      detail::gemm(m, n, k, matrix<T>(&x), matrix<T>(&y, true), out->data<T>(), n, false);
    }
    return out;
  }
  // A weight gets few rows from each of many products: those wait. Others are computed at once.
  template <class T>
  using Cotangent = std::variant<Var<T>, detail::RowProduct<T>>;
  template <class T>
  Cotangent<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& a, const Var<T>& b) const {
    const Size m = rows(a), k = a.size(-1), n = columns(b);
    if (a.rank() == 2 && n < m) {
      return row_product(columns_as_rows(g, m, n), columns_as_rows(b, k, n));
    }
    if (b.rank() == 1) return outer_rows(g, b, a.shape());
    return linear(g, b);
  }
  template <class T>
  Cotangent<T> adjoint(wrt<1>, const Var<T>& g, const Var<T>& a, const Var<T>& b) const {
    const Size m = rows(a), k = a.size(-1), n = columns(b);
    if (b.rank() == 2 && m < k) return row_product(as_matrix(a, m, k), as_matrix(g, m, n));
    if (a.rank() == 1) return outer_rows(a, g, b.shape());
    return b.rank() == 1 ? matmul(g, a) : matmul(transpose(a), g);
  }
  // [rows, columns] (or the vector that is its only column) as [columns, rows].
  template <class T>
  static Var<T> columns_as_rows(const Var<T>& x, Size rows, Size columns) {
    return x.rank() == 2 ? transpose(x) : reshape(x, Shape{columns, rows});
  }
  // The products of two vectors' (or scalars') elements, in the shape of a vector or matrix.
  template <class T>
  static Var<T> outer_rows(const Var<T>& a, const Var<T>& b, const Shape& shape) {
    return reshape(reshape(a, Shape{a.size(), 1}) * reshape(b, Shape{1, b.size()}), shape);
  }
  template <class T>
  static Size rows(const Var<T>& a) {
    return a.rank() == 1 ? 1 : a.size(0);
  }
  template <class T>
  static Size columns(const Var<T>& b) {
    return b.rank() == 1 ? 1 : b.size(1);
  }
};

// x Wᵀ (+ b) over the last axis of x. The bias has no node of its own: it is where the product starts.
struct Linear {
  static constexpr auto name = "linear";
  template <class T>
  static Block* compute(TapeCore* tape, Block& x, Block& w, Block* bias) {
    const Size out = w.sizes()[0], in = w.sizes()[1];
    Size sizes[Shape::max_rank], rows = 1;
    for (std::size_t i = 0; i + 1 < x.rank; ++i) rows *= sizes[i] = x.sizes()[i];
    sizes[x.rank - 1u] = out;
    if ((rows | out) >> 30) [[unlikely]]  // of operands that are broadcast
      detail::check_size("linear", Shape::checked(sizes, x.rank));
    Block* y = detail::new_result<T>(tape, sizes, x.rank);
    T* c = y->data<T>();
    Ref whole_bias;
    if (bias && !bias->contiguous) bias = (whole_bias = detail::contiguous(bias)).get();
    if (bias && rows > 0) {
      std::copy_n(bias->data<T>(), out, c);
      for (Size n = 1; n < rows; n *= 2) std::copy_n(c, std::min(n, rows - n) * out, c + n * out);
    } else if (in == 0) {
      std::fill_n(c, rows * out, T(0));
    }
    if (in == 0) return y;
    Ref copy;
    if (!x.contiguous) copy = detail::contiguous(&x);
    const Matrix<T> left{(copy ? *copy : x).template data<T>(), in, 1};
    if (w.contiguous) {
      detail::gemm_by_matrix(rows, left, w, true, c, out, bias != nullptr);
    } else {
      detail::gemm(rows, out, in, left, matrix<T>(&w).transposed(), c, out, bias != nullptr);
    }
    return y;
  }
  // Of one row, into the value of its node.
  template <class T>
  [[gnu::always_inline]] static void compute_row(TapeCore& tape, Block& x, Block& w, Block* bias,
                                                 T* y) {
    const Size out = w.sizes()[0];
    if (x.base && x.of_array && !x.in_tape) {
      if (const T* product = tape.read_ahead().row<T>(x, w)) {
        add_bias(product, bias, out, y);
        return;
      }
    }
    if (bias) std::copy_n(bias->data<T>(), out, y);
    detail::gemm_by_matrix(1, Matrix<T>{x.data<T>(), w.sizes()[1], 1}, w, true, y, out,
                           bias != nullptr);
  }
  template <class T>
  static void add_bias(const T* product, Block* bias, Size n, T* out) {
    if (!bias) {
      std::copy_n(product, n, out);
      return;
    }
    const T* b = bias->data<T>();
    detail::for_each_lane<T>(n,
                             [&](auto load, auto store) { store(out, load(b) + load(product)); });
  }
  template <class T>
  static void add_to_bias(Sweep& sweep, Node& bias, Block& g, Size rows) {
    if (Block* sum = detail::writable_block(bias.slot); sum && rows == 1) {
      T* const to = sum->data<T>();
      const T* const from = g.data<T>();
      detail::for_each_lane<T>(sum->size(),
                               [&](auto load, auto store) { store(to, load(to) + load(from)); });
    } else {
      sweep.add(bias, detail::Broadcasted<T>{Var<T>(Handle::borrow(&g))});
    }
  }
  template <class T>
  Block* value(TapeCore* tape, Block& x, Block& w) const {
    return compute<T>(tape, x, w, nullptr);
  }
  // The rules below for what lies in order: a step of a recurrent network, and all its steps at once.
  template <class T>
  [[gnu::always_inline]] static bool sweep_values(Node& n, Sweep& sweep) {
    const Input of_x = n.inputs()[0];
    Node *const x_node = of_x.node(), *const w_node = n.inputs()[1].node();
    Block& x = *(x_node ? x_node->value : of_x.constant());
    Block& w = *(w_node ? w_node->value : n.inputs()[1].constant());
    auto* slot = reinterpret_cast<Block*>(n.slot);
    if ((n.slot & 1) || !slot->contiguous || !w.contiguous || x.rank < 2 ||
        (x.rank > 2 && !x.contiguous)) {
      return false;
    }
    n.slot = 0;
    Ref g(slot);
    const Size rows = detail::product(x.sizes(), x.rank - 1u), out = w.sizes()[0],
               in = w.sizes()[1];
    if (x_node && sweep.wants(*x_node)) {
      Block* sum = detail::writable_block(x_node->slot);
      Ref fresh(sum ? nullptr : detail::new_like(detail::this_pool(), x));
      detail::gemm_by_matrix(rows, Matrix<T>{g->template data<T>(), out, 1}, w, false,
                             (sum ? sum : fresh.get())->template data<T>(), in, sum != nullptr);
      if (fresh) sweep.add_block<T>(*x_node, std::move(fresh));
    }
    if (w_node && sweep.wants(*w_node)) {
      if (x.rank == 2) {
        sweep.add_product<T>(*w_node, *g, x);
      } else {
        const Ref g_rows = detail::new_contiguous_view(g.get(), 0, Shape{rows, out});
        const Ref x_rows = detail::new_contiguous_view(&x, 0, Shape{rows, in});
        sweep.add_product<T>(*w_node, *g_rows, *x_rows);
      }
    }
    if (n.input_count > 2 && sweep.wants(n, 2)) {
      add_to_bias<T>(sweep, *n.inputs()[2].node(), *g, rows);
    }
    detail::release_own(g.give());
    return true;
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& W) const {
    return g.rank() <= 2 ? apply(MatMul{}, g, W) : matmul(g, W);
  }
  template <class T>
  detail::RowProduct<T> adjoint(wrt<1>, const Var<T>& g, const Var<T>& x, const Var<T>& W) const {
    if (g.rank() == 2) return {detail::alias(g), detail::alias(x)};
    const Size out = W.size(0), in = W.size(1);
    Size rows = 1;
    for (Size axis = 0; axis + 1 < static_cast<Size>(x.rank()); ++axis) rows *= x.size(axis);
    return {reshape(g, Shape{rows, out}), reshape(x, Shape{rows, in})};
  }
};
struct LinearWithBias {
  static constexpr auto name = "linear";
  template <class T>
  Block* value(TapeCore* tape, Block& x, Block& w, Block& bias) const {
    return Linear::compute<T>(tape, x, w, &bias);
  }
  template <class T>
  static bool sweep_values(Node& n, Sweep& sweep) {
    return Linear::sweep_values<T>(n, sweep);
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x, const Var<T>& W,
             const Var<T>&) const {
    return Linear{}.adjoint(wrt<0>{}, g, x, W);
  }
  template <class T>
  detail::RowProduct<T> vjp(wrt<1>, const Var<T>& g, const Var<T>&, const Var<T>& x,
                            const Var<T>& W, const Var<T>&) const {
    return Linear{}.adjoint(wrt<1>{}, g, x, W);
  }
  template <class T>
  detail::Broadcasted<T> vjp(wrt<2>, const Var<T>& g, const Var<T>&, const Var<T>&, const Var<T>&,
                             const Var<T>&) const {
    return {detail::alias(g)};
  }
  template <class T>
  Var<T> jvp(const std::array<Var<T>, 3>& t, const Var<T>& y, const Var<T>& x, const Var<T>& W,
             const Var<T>&) const {
    Var<T> tangent = t[2].empty() ? Var<T>() : broadcast_to(t[2], y.shape());
    const auto add = [&](const Var<T>& term) { tangent = tangent.empty() ? term : tangent + term; };
    if (!t[0].empty()) add(linear(t[0], W));
    if (!t[1].empty()) add(linear(x, t[1]));
    return tangent;
  }
};

// Stacks of matrices whose leading axes broadcast.
struct BatchedMatMul {
  static constexpr auto name = "matmul";
  template <class T>
  Var<T> f(const Var<T>& a, const Var<T>& b) const {
    const Block *x = a.handle().block(), *y = b.handle().block();
    const Shape left(x->sizes(), x->sizes() + x->rank - 2),
        right(y->sizes(), y->sizes() + y->rank - 2);
    const Shape batch = broadcast_shapes("matmul", left, right);
    Strides xs{}, ys{};
    x->get_strides(xs.data());
    y->get_strides(ys.data());
    const Size m = x->sizes()[x->rank - 2u], k = x->sizes()[x->rank - 1u],
               n = y->sizes()[y->rank - 1u];
    Shape shape = batch;
    shape.push_back(m);
    shape.push_back(n);
    detail::check_size("matmul", shape);
    Ref out = detail::new_block<T>(shape);
    T* c = out->template data<T>();
    const std::array<Strides, 2> outer{
        detail::broadcast_strides(x->sizes(), xs.data(), x->rank - 2u, batch),
        detail::broadcast_strides(y->sizes(), ys.data(), y->rank - 2u, batch)};
    const detail::Loop<2> loop(batch, outer.data());
    loop.run(std::array<T*, 2>{const_cast<T*>(x->data<T>()), const_cast<T*>(y->data<T>())},
             [&](std::array<T*, 2> p, const std::array<Size, 2>& step, Size count) {
               for (Size i = 0; i < count; ++i) {
                 detail::gemm(m, n, k,
                              Matrix<T>{p[0] + i * step[0], xs[x->rank - 2u], xs[x->rank - 1u]},
                              Matrix<T>{p[1] + i * step[1], ys[y->rank - 2u], ys[y->rank - 1u]}, c,
                              n, false);
                 c += m * n;
               }
             });
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> adjoint(wrt<0>, const Var<T>& g, const Var<T>& a, const Var<T>& b) const {
    return sum_to(matmul(g, transpose(b)), a.shape());
  }
  template <class T>
  Var<T> adjoint(wrt<1>, const Var<T>& g, const Var<T>& a, const Var<T>& b) const {
    return sum_to(matmul(transpose(a), g), b.shape());
  }
};

}  // namespace

template <FloatOrDouble T>
Var<T> matmul(const Var<T>& a, const Var<T>& b) {
  const Block *x = a.handle().block(), *y = b.handle().block();
  if (x->rank == 0 || y->rank == 0) {
    fail("matmul", "an operand is a scalar: " + to_string(a.shape()) + " x " +
                       to_string(b.shape()) + ". Did you mean a * b?");
  }
  const Size k = x->sizes()[x->rank - 1u];
  const Size rows = y->sizes()[y->rank == 1 ? 0 : y->rank - 2u];
  if (k != rows) {
    const bool hint = y->rank == 2 && y->sizes()[1] == k;
    fail("matmul",
         "inner dimensions differ: " + to_string(a.shape()) + " x " + to_string(b.shape()) +
             (hint ? ". Did you mean linear(x, W), which multiplies by the transpose?" : ""));
  }
  if (x->rank <= 2 && y->rank <= 2) return apply(MatMul{}, a, b);
  if (y->rank <= 2) {  // a stack of rows times one matrix is one product
    Shape shape = a.shape();
    shape.erase(shape.rank() - 1);
    const Size m = shape.size();
    const Var<T> flat = apply(MatMul{}, reshape(a, Shape{m, k}), b);
    if (y->rank == 2) shape.push_back(y->sizes()[1]);
    return reshape(flat, shape);
  }
  if (x->rank == 1) return squeeze(matmul(expand(a, 0), b), Axes{-2});
  return apply(BatchedMatMul{}, a, b);
}

namespace {
[[noreturn, gnu::cold]] void fail_linear(const Block& x, const Block& w) {
  const bool hint = w.rank == 2 && x.rank > 0 && x.sizes()[x.rank - 1u] == w.sizes()[0];
  fail("linear", "x [..., in] and W [out, in] do not fit: " + to_string(x.shape()) + " and " +
                     to_string(w.shape()) +
                     (hint ? ". Did you mean matmul(x, W), which does not transpose?" : ""));
}
inline void check_linear(const Block& x, const Block& w) {
  if (w.rank != 2 || x.rank == 0 || x.sizes()[x.rank - 1u] != w.sizes()[1]) fail_linear(x, w);
}

// What a recurrent network does at each step: x of one row, on one tape with all that is recorded. Anything else is an op like
// others.
template <class Op, class T, std::size_t N>
[[gnu::always_inline]] inline Var<T> apply_linear(const std::array<Handle::Contents, N>& in) {
  Block &x = *in[0].block, &w = *in[1].block;
  Block* const bias = N > 2 ? in[N - 1].block : nullptr;
  detail::TapeState* state = nullptr;
  bool all_nodes = true, one_tape = true;
  for (const Handle::Contents& c : in) {
    all_nodes = all_nodes && c.node;
    if (!c.tape) continue;
    one_tape = one_tape && (!state || state == c.tape);
    state = c.tape;
  }
  if (!state || !one_tape || detail::product(x.sizes(), x.rank - 1u) != 1 || !x.contiguous ||
      !w.contiguous || !w.packable || (bias && !bias->contiguous)) {
    return detail::apply_value<T>(Op{}, in);
  }
  auto& tape = *static_cast<TapeCore*>(state);
  Size sizes[Shape::max_rank];
  sizes[0] = 1;
  for (std::size_t i = 1; i + 1 < x.rank; ++i) sizes[i] = 1;
  sizes[x.rank - 1u] = w.sizes()[0];
  static_assert(std::is_empty_v<Op>);  // there is nothing of it to be kept
  Node* const n = tape.record_with_value(detail::dtype_of<T>, sizes, x.rank,
                                         &detail::GeneralOp<Op, T, N>::table, N, sizeof(Op));
  n->alike = n->alike && all_nodes;
  for (std::size_t i = 0; i < N; ++i) tape.set_input(n, i, in[i]);
  Linear::compute_row(tape, x, w, bias, n->value->template data<T>());
  return Var<T>(Handle(n, state));
}
}  // namespace

template <FloatOrDouble T>
Var<T> linear(const Var<T>& x, const Var<T>& W) {
  const std::array in{x.handle().contents(), W.handle().contents()};
  check_linear(*in[0].block, *in[1].block);
  return apply_linear<Linear, T>(in);
}
template <FloatOrDouble T>
Var<T> linear(const Var<T>& x, const Var<T>& W, const Var<T>& b) {
  const std::array in{x.handle().contents(), W.handle().contents(), b.handle().contents()};
  const Block &w = *in[1].block, &bias = *in[2].block;
  check_linear(*in[0].block, w);
  if (bias.rank != 1 || bias.sizes()[0] != w.sizes()[0]) {
    fail("linear", "the bias has shape " + to_string(b.shape()) + ", W [out, in] has " +
                       to_string(W.shape()));
  }
  return apply_linear<LinearWithBias, T>(in);
}
template <FloatOrDouble T>
Var<T> outer(const Var<T>& a, const Var<T>& b) {
  if (a.rank() != 1 || b.rank() != 1) {
    fail("outer",
         "needs two vectors, got " + to_string(a.shape()) + " and " + to_string(b.shape()));
  }
  return matmul(expand(a, 1), expand(b, 0));
}
template <FloatOrDouble T>
Var<T> dot(const Var<T>& a, const Var<T>& b) {
  if (!(a.shape() == b.shape())) {
    fail("dot", "shapes differ: " + to_string(a.shape()) + " and " + to_string(b.shape()));
  }
  const Shape flat{a.size()};
  return matmul(reshape(a, flat), reshape(b, flat));
}

template Var<float> matmul(const Var<float>&, const Var<float>&);
template Var<double> matmul(const Var<double>&, const Var<double>&);
template Var<float> linear(const Var<float>&, const Var<float>&);
template Var<double> linear(const Var<double>&, const Var<double>&);
template Var<float> linear(const Var<float>&, const Var<float>&, const Var<float>&);
template Var<double> linear(const Var<double>&, const Var<double>&, const Var<double>&);
template Var<float> outer(const Var<float>&, const Var<float>&);
template Var<double> outer(const Var<double>&, const Var<double>&);
template Var<float> dot(const Var<float>&, const Var<float>&);
template Var<double> dot(const Var<double>&, const Var<double>&);

}  // namespace unroll
