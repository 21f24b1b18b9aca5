// How cotangents meet at a node. Most slots hold a block that was passed on or computed once; contributions that say how
// they are to be added (products, regions, rows) are applied to it, or kept until the sweep arrives and settled together.
#include <memory>

#include "unroll/autograd/kernels/outer_rows.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/pool.hpp"
#include "unroll/autograd/sweep.hpp"

namespace unroll::detail {
namespace {

// A slot with its lowest bit set: contributions that wait, besides what is added already.
template <class T>
struct Pending {
  Var<T> dense;  // empty: zero
  std::vector<RowProduct<T>> products;
  Size product_bytes = 0;
  OuterRows<T> short_rows;         // copied as they come, instead of being kept as products
  std::vector<Region<T>> regions;  // these two in recorded sweeps only
  std::vector<RowSum<T>> rows;

  void clear() {
    dense = Var<T>();
    products.clear();
    short_rows.clear();
    regions.clear();
    rows.clear();
    product_bytes = 0;
  }
};

// Pending lists are reused, so that a training step asks the system for nothing.
template <class T>
struct Store {
  std::vector<std::unique_ptr<Pending<T>>> idle;
  static Store& local() {
    thread_local Store store;
    return store;
  }
  Pending<T>* acquire() {
    if (idle.empty()) return new Pending<T>;
    Pending<T>* p = idle.back().release();
    idle.pop_back();
    return p;
  }
  void leave(Pending<T>* p) {
    p->clear();
    idle.emplace_back(p);
  }
};

template <class T>
Pending<T>* pending(const Node& n) {
  return n.slot & 1 ? reinterpret_cast<Pending<T>*>(n.slot - 1) : nullptr;
}
Block* dense_block(const Node& n) {
  return n.slot & 1 ? nullptr : reinterpret_cast<Block*>(n.slot);
}

template <class T>
Pending<T>& make_pending(Node& n) {
  if (Pending<T>* p = pending<T>(n)) return *p;
  Pending<T>* p = Store<T>::local().acquire();
  if (Block* b = dense_block(n)) p->dense = Var<T>(Handle(Ref(b)));
  n.slot = reinterpret_cast<std::uintptr_t>(p) | 1;
  return *p;
}

template <class T>
Ref sum_of(Ref sum, Ref g) {
  if (!sum) return g;
  if (sum->exclusive()) {
    add_into<T>(*sum, *g);
    return sum;
  }
  if (g->exclusive()) {
    add_into<T>(*g, *sum);
    return g;
  }
  return add_blocks<T>(*sum, *g);
}

// A buffer of this shape that may be written: what is there already if nobody shares it, else a copy, else zeros.
template <class T>
Ref writable(Ref b, const Shape& shape) {
  if (!b) return zeros_block<T>(shape);
  if (b->exclusive()) return b;
  Ref copy = new_block<T>(shape);
  const Ref from = contiguous(b.get());
  std::copy_n(from->data<T>(), shape.size(), copy->data<T>());
  return copy;
}

template <class T>
Ref take_ref(Var<T>& v) {
  return take_block(std::move(v));
}

// Lets f write into the dense cotangent of a node in a values sweep.
template <class T, class F>
void write_dense(Node& n, F&& f) {
  const Shape shape = n.value->shape();
  if (Pending<T>* p = pending<T>(n)) {
    Ref b = writable<T>(take_ref(p->dense), shape);
    f(*b);
    p->dense = Var<T>(Handle(std::move(b)));
    return;
  }
  Ref b = writable<T>(Ref(dense_block(n)), shape);
  f(*b);
  n.slot = reinterpret_cast<std::uintptr_t>(b.give());
}

template <class T>
Matrix<T> matrix_of(const Var<T>& v) {
  const Block* b = v.handle().block();
  Strides s{};
  b->get_strides(s.data());
  return {b->data<T>(), s[0], s[1]};
}

// One factor of many products, rows below each other: [k_1 + k_2 + ..., width]. They lie so already when each follows the one
// that was added after it (a sweep runs backwards); otherwise they are copied.
template <class T>
struct Gathered {
  Ref copy;
  const T* data = nullptr;
};
template <class T>
Gathered<T> gather_rows(const std::vector<RowProduct<T>>& products, Var<T> RowProduct<T>::*factor,
                        Size total, Size width) {
  bool adjacent = true;
  const T* expected = nullptr;
  for (std::size_t i = products.size(); adjacent && i-- > 0;) {
    const Block* b = (products[i].*factor).handle().block();
    adjacent = b->contiguous && (!expected || b->data<T>() == expected);
    expected = b->data<T>() + b->sizes()[0] * width;
  }
  if (adjacent) return {Ref(), (products.back().*factor).handle().block()->template data<T>()};
  Gathered<T> out{new_block<T>(Shape{total, width}), nullptr};
  T* to = out.copy->template data<T>();
  out.data = to;
  for (std::size_t i = products.size(); i-- > 0;) {
    const Matrix<T> m = matrix_of(products[i].*factor);
    const Size k = (products[i].*factor).size(0);
    for (Size r = 0; r < k; ++r, to += width) {
      const T* from = m.data + r * m.row;
      if (m.column == 1) {
        std::copy_n(from, width, to);
      } else {
        for (Size j = 0; j < width; ++j) to[j] = from[j * m.column];
      }
    }
  }
  return out;
}

// f(c, accumulate) writes into the dense cotangent, whatever is there, or adds to it.
template <class T, class F>
void write_products(Pending<T>& p, const Shape& shape, F&& f) {
  const bool accumulate = !p.dense.empty();
  Ref out = accumulate ? writable<T>(take_ref(p.dense), shape) : new_block<T>(shape);
  f(out->template data<T>(), accumulate);
  p.dense = Var<T>(Handle(std::move(out)));
}
template <class T>
[[gnu::noinline]] void settle_short_rows(Pending<T>& p, const Shape& shape) {
  write_products(p, shape, [&](T* c, bool accumulate) { p.short_rows.settle(c, accumulate); });
}
// dense += Σ aᵀb over all that waits, as one product (two, if both short rows and whole products wait).
template <class T>
void settle_products(Pending<T>& p, const Shape& shape) {
  if (!p.short_rows.empty()) settle_short_rows(p, shape);
  if (p.products.empty()) return;
  write_products(p, shape, [&](T* c, bool accumulate) {
    const RowProduct<T>& first = p.products[0];
    const Size m = first.a.size(1), n = first.b.size(1);
    if (p.products.size() == 1) {
      gemm(m, n, first.a.size(0), matrix_of(first.a).transposed(), matrix_of(first.b), c, n,
           accumulate);
      return;
    }
    Size total = 0;
    for (const RowProduct<T>& q : p.products) total += q.a.size(0);
    const auto a = gather_rows(p.products, &RowProduct<T>::a, total, m);
    const auto b = gather_rows(p.products, &RowProduct<T>::b, total, n);
    gemm(m, n, total, Matrix<T>{a.data, 1, m}, Matrix<T>{b.data, n, 1}, c, n, accumulate);
  });
  p.products.clear();
  p.product_bytes = 0;
}

// Copies short rows to those that wait; false when they are better kept as they are.
template <class T>
bool append_rows(Pending<T>& p, const Block& a, const Block& b, const Node& target) {
  constexpr Size short_row = 1024;
  const Size m = a.sizes()[1], n = b.sizes()[1];
  if (a.sizes()[0] != 1 || m + n > short_row || !a.contiguous || !b.contiguous ||
      !p.short_rows.takes(m, n)) {
    return false;
  }
  if (p.short_rows.full()) [[unlikely]]
    settle_short_rows(p, target.value->shape());
  p.short_rows.add(a.data<T>(), b.data<T>());
  return true;
}

template <class T>
void add_var(Var<T>& sum, Var<T> term) {
  sum = sum.empty() ? std::move(term) : sum + term;
}

template <class T>
Var<T> settle_recorded(Pending<T>& p, const Shape& shape) {
  Var<T> sum = p.dense;
  if (!p.products.empty()) {
    std::vector<Var<T>> a, b;
    for (std::size_t i = p.products.size(); i-- > 0;) {
      a.push_back(p.products[i].a);
      b.push_back(p.products[i].b);
    }
    const Var<T> left = a.size() == 1 ? a[0] : concat(a, 0),
                 right = b.size() == 1 ? b[0] : concat(b, 0);
    add_var(sum, reshape(matmul(transpose(left), right), shape));
  }
  if (!p.regions.empty()) add_var(sum, assemble(shape, std::span<const Region<T>>(p.regions)));
  for (const RowSum<T>& r : p.rows) add_var(sum, r.eval());
  return sum;
}

// Values held back for one settled product: beyond this they are settled early.
constexpr Size product_bytes_limit = Size{256} << 20;

}  // namespace

template <class T>
Var<T> RowProduct<T>::eval() const {
  return matmul(transpose(a), b);
}
template <class T>
Var<T> Region<T>::eval() const {
  return assemble(shape, std::span<const Region<T>>(this, 1));
}
template <class T>
Var<T> RowSum<T>::eval() const {
  return scatter_rows(g, rows, n);
}

template <class T>
void Sweep::add_to_others(Node& target, Ref g) {
  if (Pending<T>* p = pending<T>(target)) {
    p->dense = Var<T>(Handle(sum_of<T>(take_ref(p->dense), std::move(g))));
    return;
  }
  Ref sum(dense_block(target));
  target.slot = reinterpret_cast<std::uintptr_t>(sum_of<T>(std::move(sum), std::move(g)).give());
}

template <class T>
void Sweep::add_recorded(Node& target, Var<T> g) {
  add_var(make_pending<T>(target).dense, std::move(g));
}

template <class T>
void Sweep::add(Node& target, const RowProduct<T>& p) {
  if (!recorded()) {
    add_product<T>(target, *p.a.handle().block(), *p.b.handle().block());
    return;
  }
  make_pending<T>(target).products.push_back(p);
}
template <class T>
void Sweep::add_product(Node& target, Block& a, Block& b) {
  Pending<T>& list = make_pending<T>(target);
  if (append_rows(list, a, b, target)) return;
  list.product_bytes += static_cast<Size>(sizeof(T)) * (a.size() + b.size());
  list.products.push_back({Var<T>(Handle(Ref::share(&a))), Var<T>(Handle(Ref::share(&b)))});
  if (list.product_bytes > product_bytes_limit) settle_products(list, target.value->shape());
}

template <class T>
void Sweep::add_same_size(Node& target, Ref g) {
  Block* sum = writable_block(target.slot);
  if (sum && g->contiguous) {
    add_into<T>(*sum, *g);
  } else if (g->same_shape(*target.value)) {
    add_block<T>(target, std::move(g));
  } else {
    add_block<T>(target, sum_to<T>(std::move(g), target.value->shape()));
  }
}

template <class T>
void Sweep::add(Node& target, const Broadcasted<T>& b) {
  const Block& x = *target.value;
  if (recorded()) {
    add(target, sum_to(b.g, x.shape()));
    return;
  }
  Block* g = b.g.handle().block();
  Block* sum = writable_block(target.slot);
  if (g->size() != x.size()) {
    add_block<T>(target, detail::sum_to<T>(Ref::share(g), x.shape()));
  } else if (sum && g->contiguous) {
    add_into<T>(*sum, *g);
  } else {
    add_same_size<T>(target, Ref::share(g));
  }
}

template <class T>
void Sweep::add(Node& target, const Region<T>& r) {
  if (recorded()) {
    make_pending<T>(target).regions.push_back(r);
    return;
  }
  const Block& g = *r.g.handle().block();
  if (Block* sum = writable_block(target.slot); sum && g.contiguous && r.step == 1) {
    // With nothing but axes of size 1 in front, the window is one stretch of memory.
    if (product(r.shape.begin(), r.axis) == 1) {
      const Size inner = product(r.shape.begin() + r.axis + 1, r.shape.rank() - r.axis - 1);
      T* __restrict at = sum->data<T>() + r.start * inner;
      const T* __restrict from = g.data<T>();
      const Size n = g.size();
      for (Size i = 0; i < n; ++i) at[i] += from[i];
      return;
    }
  }
  write_dense<T>(target, [&](Block& b) {
    Strides strides = row_major(r.shape);
    T* at = b.data<T>() + r.start * strides[r.axis];
    strides[r.axis] *= r.step;
    if (r.drop) {
      for (std::size_t k = r.axis; k + 1 < r.shape.rank(); ++k) strides[k] = strides[k + 1];
    }
    add_into_window(at, strides, *r.g.handle().block());
  });
}

template <class T>
void Sweep::add(Node& target, const RowSum<T>& r) {
  if (recorded()) {
    make_pending<T>(target).rows.push_back(r);
    return;
  }
  write_dense<T>(target, [&](Block& b) {
    const Ref g = contiguous(r.g.handle().block());
    Size width = 1;
    for (std::size_t i = 1; i < b.rank; ++i) width *= b.sizes()[i];
    add_rows(b.data<T>(), g->data<T>(), r.rows, width, r.n);
  });
}

template <class T>
Var<T> Sweep::settle(Node& n) {
  Pending<T>* p = pending<T>(n);
  const Shape shape = n.value->shape();
  Var<T> g;
  if (recorded()) {
    g = settle_recorded(*p, shape);
  } else {
    settle_products(*p, shape);
    g = std::move(p->dense);
  }
  n.slot = 0;
  Store<T>::local().leave(p);
  return g;
}

void drop_slot(Node& n) {
  if (Block* b = dense_block(n)) {
    release(b);
  } else if (n.value->dtype == Dtype::f32) {
    Store<float>::local().leave(pending<float>(n));
  } else {
    Store<double>::local().leave(pending<double>(n));
  }
  n.slot = 0;
}

template <class T>
void Push::set(Node& n, Var<T> tangent) {
  if (!tangent.empty()) make_pending<T>(n).dense = std::move(tangent);
}
template <class T>
Var<T> Push::get(const Node& n) const {
  return n.slot ? pending<T>(n)->dense : Var<T>();
}

template struct RowProduct<float>;
template struct Region<float>;
template struct RowSum<float>;
template void Sweep::add_to_others<float>(Node&, Ref);
template void Sweep::add_recorded(Node&, Var<float>);
template void Sweep::add(Node&, const RowProduct<float>&);
template void Sweep::add_product<float>(Node&, Block&, Block&);
template void Sweep::add_same_size<float>(Node&, Ref);
template void Sweep::add(Node&, const Region<float>&);
template void Sweep::add(Node&, const RowSum<float>&);
template void Sweep::add(Node&, const Broadcasted<float>&);
template Var<float> Sweep::settle(Node&);
template void Push::set(Node&, Var<float>);
template Var<float> Push::get(const Node&) const;
template struct RowProduct<double>;
template struct Region<double>;
template struct RowSum<double>;
template void Sweep::add_to_others<double>(Node&, Ref);
template void Sweep::add_recorded(Node&, Var<double>);
template void Sweep::add(Node&, const RowProduct<double>&);
template void Sweep::add_product<double>(Node&, Block&, Block&);
template void Sweep::add_same_size<double>(Node&, Ref);
template void Sweep::add(Node&, const Region<double>&);
template void Sweep::add(Node&, const RowSum<double>&);
template void Sweep::add(Node&, const Broadcasted<double>&);
template Var<double> Sweep::settle(Node&);
template void Push::set(Node&, Var<double>);
template Var<double> Push::get(const Node&) const;

}  // namespace unroll::detail
