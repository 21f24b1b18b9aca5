// An element of an op's result has the same bits wherever it stands in its array: at each place of a SIMD register, in the
// tail, alone, with its neighbours apart in memory, and when it is broadcast. So do gradients.
#include <doctest/doctest.h>

#include <bit>

#include "op_samples.hpp"

using namespace unroll;
using namespace unroll::testing;

namespace {

template <class T>
auto bits(T x) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(x);
  } else {
    return std::bit_cast<std::uint64_t>(x);
  }
}

template <class T>
struct Map {
  std::string name;
  std::size_t inputs;
  std::function<Vars<T>(const Vars<T>&)> f;
};

template <class T>
const auto& pick(const OpSample& s) {
  if constexpr (std::is_same_v<T, double>) {
    return s.f;
  } else {
    return s.single;
  }
}

// All elementwise ops of the table, by those samples whose inputs have one shape.
template <class T>
std::vector<Map<T>> elementwise_ops() {
  std::vector<Map<T>> out;
  for (const OpEntry& op : op_table()) {
    if (op.kind != OpKind::elementwise && op.name != "clamp" &&
        op.group.rfind("Comparisons", 0) != 0)
      continue;
    for (const OpSample& s : op.samples) {
      bool even = s.shapes[0].rank() == 1 && s.shapes[0].size() > 4;
      for (const Shape& shape : s.shapes) even = even && shape == s.shapes[0];
      if (even) out.push_back({op.name + " " + s.label, s.shapes.size(), pick<T>(s)});
    }
  }
  return out;
}

constexpr Size longest = 67;

template <class T>
Vars<T> values(std::size_t inputs) {
  Vars<T> x;
  for (std::size_t i = 0; i < inputs; ++i) {
    std::vector<T> v;
    for (Size k = 0; k < longest; ++k) {
      v.push_back(static_cast<T>(
          0.05 + static_cast<double>((k * 29 + 13 * static_cast<Size>(i)) % 67) / 31));
    }
    x.emplace_back(Shape{longest}, std::span<const T>(v));
  }
  return x;
}

// Results and gradients, one after the other.
template <class T>
Vars<T> all_results(const Map<T>& op, const Vars<T>& x) {
  const auto back = vjp(op.f, x);
  Vars<T> out = back.value;
  Vars<T> u;
  for (const auto& y : back.value) u.push_back(ones<T>(y.shape()));
  for (const auto& g : back.pullback(u)) out.push_back(g);
  return out;
}

template <class T>
void expect_bits(const std::string& what, const Vars<T>& got, const Vars<T>& whole,
                 const std::function<Size(Size)>& place) {
  bool same = true;
  std::string where;
  for (std::size_t r = 0; r < whole.size(); ++r) {
    const auto a = got[r].to_vector(), b = whole[r].to_vector();
    for (std::size_t k = 0; k < a.size(); ++k) {
      if (bits(a[k]) == bits(b[static_cast<std::size_t>(place(static_cast<Size>(k)))])) continue;
      same = false;
      where = "result " + std::to_string(r) + ", element " + std::to_string(k);
    }
  }
  INFO(what << ": " << where);
  CHECK(same);
}

template <class T>
Var<T> stored(const Var<T>& x) {
  const auto v = x.to_vector();
  return Var<T>(x.shape(), std::span<const T>(v));
}

}  // namespace

TEST_CASE_TEMPLATE(
    "Elements have the same bits in arrays of every length from 1 to 67 and at every offset", T,
    float, double) {
  const auto ops = elementwise_ops<T>();
  REQUIRE(ops.size() > 30);
  for (const Map<T>& op : ops) {
    const Vars<T> x = values<T>(op.inputs);
    const Vars<T> whole = all_results(op, x);
    for (Size n = 1; n <= longest; ++n) {
      for (const Size offset : {Size{0}, Size{1}, Size{3}, longest - n}) {
        if (offset + n > longest) continue;
        Vars<T> view, copy;
        for (const auto& v : x) {
          view.push_back(slice(v, 0, {offset, offset + n}));
          copy.push_back(stored(view.back()));
        }
        const auto place = [&](Size k) { return k + offset; };
        const std::string what =
            op.name + ", " + std::to_string(n) + " elements from " + std::to_string(offset);
        expect_bits(what + ", a view", all_results(op, view), whole, place);
        expect_bits(what + ", a copy", all_results(op, copy), whole, place);
      }
    }
  }
}

TEST_CASE_TEMPLATE("Elements have the same bits in strided arrays", T, float, double) {
  for (const Map<T>& op : elementwise_ops<T>()) {
    const Vars<T> x = values<T>(op.inputs);
    const Vars<T> whole = all_results(op, x);
    Vars<T> backwards, gaps, columns;
    for (const auto& v : x) {
      backwards.push_back(flip(v, 0));
      gaps.push_back(slice(stored(repeat(v, 3, 0)), 0, {.step = 3}));
      columns.push_back(transpose(reshape(slice(v, 0, {0, 66}), Shape{11, 6})));
    }
    expect_bits(op.name + ", backwards", all_results(op, backwards), whole,
                [](Size k) { return longest - 1 - k; });
    expect_bits(op.name + ", with gaps", all_results(op, gaps), whole, [](Size k) { return k; });
    expect_bits(op.name + ", by columns", all_results(op, columns), whole,
                [](Size k) { return (k % 11) * 6 + k / 11; });
    // One input in its own layout, the others contiguous.
    for (std::size_t i = 0; i < op.inputs; ++i) {
      Vars<T> mixed = x;
      mixed[i] = gaps[i];
      expect_bits(op.name + ", one with gaps", all_results(op, mixed), whole,
                  [](Size k) { return k; });
    }
  }
}

TEST_CASE_TEMPLATE("A broadcast element has the bits of a repeated one", T, float, double) {
  for (const Map<T>& op : elementwise_ops<T>()) {
    if (op.inputs != 2) continue;
    const Vars<T> x = values<T>(2);
    for (Size n : {1, 5, 16, 33, 67}) {
      const Var<T> many = slice(x[0], 0, {0, n}), one = index(x[1], 0, 3);
      const auto a = op.f({many, one}), b = op.f({many, full<T>({n}, one.item())});
      const auto c = op.f({one, many}), d = op.f({full<T>({n}, one.item()), many});
      expect_bits(op.name + ", a scalar on the right", a, b, [](Size k) { return k; });
      expect_bits(op.name + ", a scalar on the left", c, d, [](Size k) { return k; });
    }
  }
}

TEST_CASE_TEMPLATE("Rows that are values of a tape have the bits of vectors", T, float, double) {
  // Small matrices in a tape have a kernel of their own where they fill whole registers. Cotangents that are neither 0 nor 1,
  // which are added to what is there already: there a product and a sum could become one rounding.
  for (const Map<T>& op : elementwise_ops<T>()) {
    for (const Size n : {1, 5, 8, 16, 32, 48, 64, 67}) {
      const auto in_shapes = [&](const Shape& first, const Shape& others) {
        Vars<T> x;
        for (const auto& v : values<T>(op.inputs))
          x.push_back(reshape(stored(slice(v, 0, {0, n})), x.empty() ? first : others));
        const auto f = [&](const Vars<T>& at) {
          Vars<T> y;
          for (const auto& v : at) y.push_back(v * T(1));
          Vars<T> out = op.f(y);
          for (const auto& v : y) out.push_back(v * T(3));
          return out;
        };
        const auto back = vjp(f, x);
        Vars<T> all = back.value, u;
        for (const auto& y : back.value) u.push_back(y * T(0.37) + reshape(x[0], y.shape()));
        for (const auto& g : back.pullback(u)) all.push_back(g);
        return all;
      };
      const Vars<T> vectors = in_shapes(Shape{n}, Shape{n});
      const std::string name = op.name + ", " + std::to_string(n) + " elements";
      expect_bits(name, in_shapes(Shape{1, n}, Shape{1, n}), vectors, [](Size k) { return k; });
      expect_bits(name + ", the first a matrix", in_shapes(Shape{1, n}, Shape{n}), vectors,
                  [](Size k) { return k; });
    }
  }
}

TEST_CASE_TEMPLATE("The same call gives the same bits again", T, float, double) {
  const auto ops = elementwise_ops<T>();
  for (const Map<T>& op : ops) {
    const Vars<T> x = values<T>(op.inputs);
    expect_bits(op.name, all_results(op, x), all_results(op, x), [](Size k) { return k; });
  }
}
