#include "unroll/nn/attention.hpp"

#include <cmath>
#include <limits>

#include "unroll/autograd/elementwise.hpp"

namespace unroll {
namespace {

// Throws where a whole row of the mask is closed.
template <class T>
void check_open(const char* op, const Var<T>& mask) {
  if (mask.rank() == 0 || mask.size() == 0) return;
  const std::vector<T> open = max(abs(stop_gradient(mask)), -1).to_vector();
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (open[i] != 0) continue;
    fail(op, "row " + std::to_string(i) +
                 " of the mask is all zero: a query that may attend to nothing has no weights (is "
                 "there a sequence of length 0?)");
  }
}

// Weights [..., n, S] of scores, exactly 0 where the mask is: what stands there is replaced.
template <class T>
Var<T> masked_softmax(const Var<T>& scores, const std::optional<Var<T>>& mask) {
  return softmax(mask ? where(*mask, scores, -std::numeric_limits<T>::infinity()) : scores);
}

template <class T>
Attended<T> attend(const Var<T>& scores, const Var<T>& values, const std::optional<Var<T>>& mask) {
  const Var<T> weights = masked_softmax(scores, mask);
  return {matmul(weights, values), weights};
}

// The product of a [..., n, k] and b [..., k, m] without the terms a_ik b_kj whose `mask` [..., n, k, m] is 0.
template <class T>
Var<T> masked_product(const Var<T>& a, const Var<T>& b, const Var<T>& mask) {
  return sum(expand(a, -1) * where(mask, expand(b, -3), 0), -2);
}

// The same for a mask [..., n, S] that hides from some queries what others see. Where keys or values are not finite, 0 times
// them is not 0, so their products are summed without what is hidden.
template <class T>
Attended<T> attend(const Var<T>& query, const Var<T>& keys, const Var<T>& values,
                   const Var<T>& mask) {
  const Var<T> open = mask.rank() == 0 ? expand(mask, 0) : mask;
  const Var<T> scores = detail::all_finite(keys)
                            ? matmul(query, transpose(keys))
                            : masked_product(query, transpose(keys), expand(open, -2));
  const Var<T> weights = masked_softmax(scores, std::optional(open));
  return {detail::all_finite(values) ? matmul(weights, values)
                                     : masked_product(weights, values, expand(open, -1)),
          weights};
}

// The memory [S, B, M] without what the mask [B, S] hides.
template <class T>
Var<T> visible(const char* op, const Var<T>& memory, const std::optional<Var<T>>& mask) {
  if (memory.rank() != 3 || memory.size(0) == 0) {
    fail(op, "the memory has shape " + to_string(memory.shape()) +
                 "; it is [S, B, size], of at least one step");
  }
  if (!mask) return memory;
  const Shape expected{memory.size(1), memory.size(0)};
  if (!(mask->shape() == expected)) {
    fail(op, "the mask has shape " + to_string(mask->shape()) + "; a memory " +
                 to_string(memory.shape()) + " ([S, B, size]) needs " + to_string(expected));
  }
  check_open(op, *mask);
  return where(expand(transpose(stop_gradient(*mask)), -1), memory, 0);
}

// Keys and values [S, B, ...] -> [B, S, ...].
template <class T>
AttentionMemory<T> make_memory(const Var<T>& keys, const Var<T>& values,
                               const std::optional<Var<T>>& mask) {
  AttentionMemory<T> memory{permute(keys, {1, 0, 2}), permute(values, {1, 0, 2})};
  if (mask) memory.mask = stop_gradient(*mask);
  return memory;
}

// Queries as [B, n, Q], whichever of the three forms they have.
template <class T>
Var<T> group(const char* op, const Var<T>& query, const AttentionMemory<T>& memory) {
  const Size batch = memory.values.size(0);
  const Shape shape = query.shape();
  if (shape.rank() == 2 && batch > 0 && shape[0] % batch == 0) {
    return reshape(query, {batch, shape[0] / batch, shape[1]});
  }
  if (shape.rank() == 3 && shape[1] == batch) return permute(query, {1, 0, 2});
  fail(op, "the query has shape " + to_string(shape) + "; with a memory of " +
               std::to_string(batch) +
               " sequences it is [rows, size], rows a multiple of that, or [steps, " +
               std::to_string(batch) + ", size]");
}

// [B, n, ...] back to the form of the query.
template <class T>
Var<T> ungroup(const Var<T>& x, const Var<T>& query) {
  if (query.rank() == 3) {
    return x.rank() == 3 ? permute(x, {1, 0, 2}) : permute(x, {1, 0, 2, 3});
  }
  Shape shape = x.shape();
  shape.erase(0);
  shape[0] = query.size(0);
  return reshape(x, shape);
}

// The mask [B, S] beside scores [B, (heads,) n, S].
template <class T>
std::optional<Var<T>> beside(const std::optional<Var<T>>& mask, std::size_t rank) {
  if (!mask) return mask;
  const Var<T> m = expand(*mask, 1);
  return rank == 4 ? expand(m, 1) : m;
}

// score = qᵀ k
template <class T>
Attended<T> attend_by_products(const char* op, const Var<T>& query,
                               const AttentionMemory<T>& memory) {
  const Var<T> q = group(op, query, memory);
  if (q.size(2) != memory.keys.size(2)) {
    fail(op, "the query " + to_string(query.shape()) + " and the keys " +
                 to_string(memory.keys.shape()) + " differ in size");
  }
  const Attended<T> a =
      attend(matmul(q, transpose(memory.keys)), memory.values, beside(memory.mask, 3));
  return {ungroup(a.context, query), ungroup(a.weights, query)};
}

// [B, n, size] -> [B, heads, n, size / heads]
template <class T>
Var<T> split_heads(const Var<T>& x, Size heads) {
  return permute(reshape(x, {x.size(0), x.size(1), heads, x.size(2) / heads}), {0, 2, 1, 3});
}

}  // namespace

template <FloatOrDouble T>
Attended<T> scaled_dot_product_attention(const Var<T>& query, const Var<T>& key,
                                         const Var<T>& value,
                                         const std::optional<std::type_identity_t<Var<T>>>& mask) {
  constexpr auto op = "scaled_dot_product_attention";
  if (query.rank() < 2 || key.rank() < 2 || value.rank() < 2 || query.size(-1) != key.size(-1) ||
      key.size(-2) != value.size(-2)) {
    fail(op, "query " + to_string(query.shape()) + ", key " + to_string(key.shape()) +
                 " and value " + to_string(value.shape()) +
                 " do not belong together: they are [..., n, D], [..., S, D] and [..., S, M]");
  }
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(query.size(-1))));
  if (!mask) return attend(matmul(query * scale, transpose(key)), value, mask);
  check_open(op, *mask);
  return attend(query * scale, key, value, stop_gradient(*mask));
}

template <FloatOrDouble T>
Var<T> causal_mask(Size steps) {
  const Var<T> step = arange<T>(steps);
  return expand(step, 1) >= expand(step, 0);
}

template <FloatOrDouble T>
AttentionMemory<T> AdditiveAttention<T>::prepare(const Var<T>& memory,
                                                 const std::optional<Var<T>>& mask) const {
  const Var<T> seen = visible("AdditiveAttention", memory, mask);
  return make_memory(linear(seen, U), seen, mask);
}
template <FloatOrDouble T>
Attended<T> AdditiveAttention<T>::operator()(const Var<T>& query,
                                             const AttentionMemory<T>& memory) const {
  const Var<T> q = linear(group("AdditiveAttention", query, memory), W);
  const Var<T> hidden = fuse([](auto a, auto b) { return tanh(a + b); }, expand(q, 2),
                             expand(memory.keys, 1));  // [B, n, S, size]
  const Attended<T> a = attend(matmul(hidden, v), memory.values, beside(memory.mask, 3));
  return {ungroup(a.context, query), ungroup(a.weights, query)};
}

template <FloatOrDouble T>
AttentionMemory<T> DotAttention<T>::prepare(const Var<T>& memory,
                                            const std::optional<Var<T>>& mask) const {
  const Var<T> seen = visible("DotAttention", memory, mask);
  return make_memory(seen, seen, mask);
}
template <FloatOrDouble T>
Attended<T> DotAttention<T>::operator()(const Var<T>& query,
                                        const AttentionMemory<T>& memory) const {
  return attend_by_products("DotAttention", query, memory);
}

template <FloatOrDouble T>
AttentionMemory<T> GeneralAttention<T>::prepare(const Var<T>& memory,
                                                const std::optional<Var<T>>& mask) const {
  const Var<T> seen = visible("GeneralAttention", memory, mask);
  return make_memory(linear(seen, W), seen, mask);
}
template <FloatOrDouble T>
Attended<T> GeneralAttention<T>::operator()(const Var<T>& query,
                                            const AttentionMemory<T>& memory) const {
  return attend_by_products("GeneralAttention", query, memory);
}

template <FloatOrDouble T>
MultiHeadAttention<T> MultiHeadAttention<T>::make(const Key& key, Size query, Size memory,
                                                  Size size, Size heads) {
  if (heads < 1 || size % heads != 0) {
    fail("MultiHeadAttention", "a size of " + std::to_string(size) + " does not divide into " +
                                   std::to_string(heads) + " heads");
  }
  const auto k = split<4>(key);
  const auto layer = [&](const Key& own, Size in) {
    return Linear<T>{glorot_uniform<T>(own, {size, in}), zeros<T>({size})};
  };
  return {layer(k[0], query), layer(k[1], memory), layer(k[2], memory), layer(k[3], size), heads};
}
template <FloatOrDouble T>
AttentionMemory<T> MultiHeadAttention<T>::prepare(const Var<T>& memory,
                                                  const std::optional<Var<T>>& mask) const {
  const Var<T> seen = visible("MultiHeadAttention", memory, mask);
  AttentionMemory<T> m = make_memory(key(seen), value(seen), mask);
  m.keys = split_heads(m.keys, heads);
  m.values = split_heads(m.values, heads);
  return m;
}
template <FloatOrDouble T>
Attended<T> MultiHeadAttention<T>::operator()(const Var<T>& query, const AttentionMemory<T>& memory,
                                              const std::optional<Var<T>>& mask) const {
  constexpr auto op = "MultiHeadAttention";
  const Var<T> q = split_heads(this->query(group(op, query, memory)), heads);
  const T scale = static_cast<T>(1 / std::sqrt(static_cast<double>(q.size(3))));
  const std::optional<Var<T>> open = beside(memory.mask, 4);
  Attended<T> a;
  if (mask) {
    const Shape expected{q.size(2), memory.keys.size(2)};
    if (query.rank() != 3 || !(mask->shape() == expected)) {
      fail(op, "the mask has shape " + to_string(mask->shape()) +
                   "; it is for a sequence of queries [steps, B, size] and a memory of S steps, "
                   "and is [steps, S]; here they are " +
                   to_string(query.shape()) + " and " + std::to_string(memory.keys.size(2)));
    }
    const Var<T> both = open ? where(*open, stop_gradient(*mask), 0) : stop_gradient(*mask);
    check_open(op, both);
    a = attend(q * scale, memory.keys, memory.values, both);
  } else {
    a = attend(matmul(q * scale, transpose(memory.keys)), memory.values, open);
  }
  const Var<T> joined = permute(a.context, {0, 2, 1, 3});  // [B, n, heads, size / heads]
  const Var<T> context = out(reshape(joined, {joined.size(0), joined.size(1), -1}));
  return {ungroup(context, query), ungroup(permute(a.weights, {0, 2, 1, 3}), query)};
}

template struct AdditiveAttention<float>;
template struct AdditiveAttention<double>;
template struct DotAttention<float>;
template struct DotAttention<double>;
template struct GeneralAttention<float>;
template struct GeneralAttention<double>;
template struct MultiHeadAttention<float>;
template struct MultiHeadAttention<double>;
template Attended<float> scaled_dot_product_attention(const Var<float>&, const Var<float>&,
                                                      const Var<float>&,
                                                      const std::optional<Var<float>>&);
template Attended<double> scaled_dot_product_attention(const Var<double>&, const Var<double>&,
                                                       const Var<double>&,
                                                       const std::optional<Var<double>>&);
template Var<float> causal_mask(Size);
template Var<double> causal_mask(Size);

}  // namespace unroll
