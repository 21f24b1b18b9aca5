// Attention: a weighted mean over a memory, the weights from a query.
//
//   auto attention = AdditiveAttention<float>::make(Key(1), 128, 256, 64);   // query, memory, size
//   const auto memory = attention.prepare(encoded, length_mask<float>(lengths, S));  // once: [S, B, 256]
//   auto [context, weights] = attention(state.h, memory);   // every step: [B, 128] -> [B, 256], [B, S]
//
// AdditiveAttention, DotAttention, GeneralAttention and MultiHeadAttention are used alike. What
// depends on the memory alone is computed by `prepare`, so a decoder's step costs its own part only.
// A query is
//   [B, Q]        one for each sequence;
//   [B·n, Q]      n for each, those of one sequence together, as the beams of a search are: the
//                 memory is shared, not copied;
//   [steps, B, Q] a whole sequence of queries at once.
// context is then [B, M], [B·n, M] or [steps, B, M], and the weights, for pictures, have the
// memory's S steps in the place of M (and with heads [..., heads, S]).
// Masks are 1 where attention may go and 0 where not. Invariant: the weights of a query sum to 1;
// what is masked has a weight and a gradient of exactly 0, whatever stands there (NaN and inf too). A query that may attend to nothing is an
// error (std::invalid_argument). Composites of recorded ops: any order of derivative.
#pragma once

#include "unroll/autograd/model.hpp"
#include "unroll/nn/lengths.hpp"
#include "unroll/nn/linear.hpp"

namespace unroll {

template <FloatOrDouble T>
struct Attended {
  Var<T> context, weights;
  static constexpr auto fields() {
    return std::tuple{field("context", &Attended::context), field("weights", &Attended::weights)};
  }
};

// A memory as `prepare` leaves it. With heads there is an axis for them behind the batch's.
template <FloatOrDouble T>
struct AttentionMemory {
  Var<T> keys;                                // [B, S, K]
  Var<T> values;                              // [B, S, M]
  std::optional<Var<T>> mask = std::nullopt;  // [B, S]; what it hides is 0 in keys and values
  static constexpr auto fields() {
    return std::tuple{field("keys", &AttentionMemory::keys),
                      field("values", &AttentionMemory::values),
                      constant("mask", &AttentionMemory::mask)};
  }
};

// softmax(Q Kᵀ / √D) V (Vaswani et al., 2017, equation 1): query [..., n, D], key [..., S, D], value
// [..., S, M] -> context [..., n, M], weights [..., n, S]. The mask broadcasts to the weights' shape.
template <FloatOrDouble T>
[[nodiscard]] Attended<T> scaled_dot_product_attention(
    const Var<T>& query, const Var<T>& key, const Var<T>& value,
    const std::optional<std::type_identity_t<Var<T>>>& mask = std::nullopt);

// [steps, steps]: 1 on and below the diagonal, so that no step sees a later one.
template <FloatOrDouble T>
[[nodiscard]] Var<T> causal_mask(Size steps);

// score = vᵀ tanh(W q + U m) (Bahdanau et al., 2015, appendix A.1.2).
template <FloatOrDouble T>
struct AdditiveAttention {
  Var<T> W;  // [size, query]
  Var<T> U;  // [size, memory]
  Var<T> v;  // [size]
  static constexpr auto fields() {
    return std::tuple{field("W", &AdditiveAttention::W), field("U", &AdditiveAttention::U),
                      field("v", &AdditiveAttention::v)};
  }
  // W and U after Glorot, v evenly over ±1/√size.
  [[nodiscard]] static AdditiveAttention make(const Key& key, Size query, Size memory, Size size) {
    const auto k = split<3>(key);
    return {glorot_uniform<T>(k[0], {size, query}), glorot_uniform<T>(k[1], {size, memory}),
            pytorch_uniform<T>(k[2], {size}, size)};
  }
  // memory [S, B, M]; mask [B, S].
  [[nodiscard]] AttentionMemory<T> prepare(const Var<T>& memory,
                                           const std::optional<Var<T>>& mask = {}) const;
  [[nodiscard]] Attended<T> operator()(const Var<T>& query, const AttentionMemory<T>& memory) const;
};

// score = qᵀ m (Luong et al., 2015, "dot"); query and memory are of one size.
template <FloatOrDouble T>
struct DotAttention {
  static constexpr auto fields() { return std::tuple{}; }
  [[nodiscard]] AttentionMemory<T> prepare(const Var<T>& memory,
                                           const std::optional<Var<T>>& mask = {}) const;
  [[nodiscard]] Attended<T> operator()(const Var<T>& query, const AttentionMemory<T>& memory) const;
};

// score = qᵀ W m (Luong et al., 2015, "general").
template <FloatOrDouble T>
struct GeneralAttention {
  Var<T> W;  // [query, memory]
  static constexpr auto fields() { return std::tuple{field("W", &GeneralAttention::W)}; }
  [[nodiscard]] static GeneralAttention make(const Key& key, Size query, Size memory) {
    return {glorot_uniform<T>(key, {query, memory})};
  }
  [[nodiscard]] AttentionMemory<T> prepare(const Var<T>& memory,
                                           const std::optional<Var<T>>& mask = {}) const;
  [[nodiscard]] Attended<T> operator()(const Var<T>& query, const AttentionMemory<T>& memory) const;
};

// Scaled dot products in several subspaces at once (Vaswani et al., 2017, section 3.2.2), each of
// size / heads; context has `size` columns.
template <FloatOrDouble T>
struct MultiHeadAttention {
  Linear<T> query, key, value;  // to [size]
  Linear<T> out;                // [size] -> [size]
  Size heads = 1;
  static constexpr auto fields() {
    return std::tuple{
        field("query", &MultiHeadAttention::query), field("key", &MultiHeadAttention::key),
        field("value", &MultiHeadAttention::value), field("out", &MultiHeadAttention::out)};
  }
  // Weights after Glorot, biases zero. Throws unless size is a multiple of heads.
  [[nodiscard]] static MultiHeadAttention make(const Key& key, Size query, Size memory, Size size,
                                               Size heads);
  [[nodiscard]] AttentionMemory<T> prepare(const Var<T>& memory,
                                           const std::optional<Var<T>>& mask = {}) const;
  // `mask` [steps, S], for a sequence of queries: causal_mask for a sequence that attends to itself.
  [[nodiscard]] Attended<T> operator()(const Var<T>& query, const AttentionMemory<T>& memory,
                                       const std::optional<Var<T>>& mask = {}) const;
};

extern template struct AdditiveAttention<float>;
extern template struct AdditiveAttention<double>;
extern template struct DotAttention<float>;
extern template struct DotAttention<double>;
extern template struct GeneralAttention<float>;
extern template struct GeneralAttention<double>;
extern template struct MultiHeadAttention<float>;
extern template struct MultiHeadAttention<double>;

}  // namespace unroll
