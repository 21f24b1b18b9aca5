// Errors: each names the operation, what is wrong and both shapes, with the likely cause; what does not compile does not
// compile; and after an error the tape is as it was.
#include <doctest/doctest.h>

#include <limits>
#include <thread>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"

using namespace unroll;
using V = Var<double>;

namespace {

// The message of the exception that f throws; it must be an std::invalid_argument.
template <class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "nothing was thrown";
}
bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Evaluates the expression and checks that the message has all parts.
template <class F>
void expect(F&& f, std::initializer_list<const char*> parts) {
  const std::string text = message(f);
  for (const char* part : parts) {
    INFO(text);
    INFO(std::string(part));
    CHECK(contains(text, part));
  }
}

V array(const Shape& shape) { return ones<double>(shape); }

}  // namespace

TEST_CASE("Shapes that do not broadcast are named with both shapes and the sizes that meet") {
  expect([] { return array({2, 3}) + array({4}); }, {"[add]", "[2, 3] and [4]", "sizes 3 and 4"});
  expect([] { return array({2, 3}) * array({3, 2}); }, {"[mul]", "[2, 3] and [3, 2]"});
  expect([] { return where(array({2}), array({3}), 1); }, {"[where]", "[2]", "[3]"});
  expect([] { return fuse([](auto a, auto b) { return a * b; }, array({2}), array({3})); },
         {"[fuse]", "[2] and [3]"});
  expect(
      [] {
        return maximum(array({2, 2}), array({3, 1, 3}));
      },
      {"[maximum]", "[2, 2] and [3, 1, 3]"});
}

TEST_CASE("matmul names both shapes and gives the hint only where it would help") {
  expect(
      [] {
        return matmul(array({32, 128}), array({64, 128}));
      },
      {"[matmul] inner dimensions differ: [32, 128] x [64, 128]. Did you mean linear(x, W), which "
       "multiplies by the transpose?"});
  const std::string without = message([] { return matmul(array({32, 128}), array({64, 32})); });
  CHECK(contains(without, "[32, 128] x [64, 32]"));
  CHECK_FALSE(contains(without, "linear"));
  expect([] { return matmul(V(2), array({3})); }, {"[matmul]", "scalar", "a * b"});
  expect([] { return matmul(array({2, 3, 4}), array({3, 4, 2})); }, {"[matmul]", "[2]", "[3]"});
  expect(
      [] {
        return linear(array({2, 3}), array({3, 5}));
      },
      {"[linear]", "[2, 3]", "[3, 5]", "Did you mean matmul(x, W)"});
  CHECK_FALSE(contains(message([] {
                         return linear(array({2, 3}), array({4, 5}));
                       }),
                       "Did you mean"));
  expect(
      [] {
        return linear(array({2, 3}), array({5, 3}), array({4}));
      },
      {"[linear]", "bias", "[4]", "[5, 3]"});
  expect([] { return outer(array({2, 2}), array({3})); }, {"[outer]", "[2, 2] and [3]"});
  expect([] { return dot(array({2}), array({3})); }, {"[dot]", "[2] and [3]"});
}

TEST_CASE("Axes out of range or named twice are named") {
  expect([] { return sum(array({2, 3}), 2); }, {"[sum]", "axis 2 is out of range", "2 axes"});
  expect([] { return sum(array({2, 3}), -3); }, {"[sum]", "axis -3"});
  expect([] { return mean(array({2, 3}), {0, -2}); }, {"[mean]", "axis -2 is named twice"});
  expect([] { return softmax(array({2}), 1); }, {"[softmax]", "axis 1", "1 axis"});
  expect([] { return softmax(V(1)); }, {"[softmax]", "out of range"});
  expect([] { return cumsum(array({2}), 5); }, {"[cumsum]", "axis 5"});
  expect([] { return argmax(array({2}), 1); }, {"[argmax]", "axis 1"});
  expect([] { return flip(array({2}), 1); }, {"axis 1"});
  expect([] { return concat({array({2}), array({2})}, 1); }, {"[concat]", "axis 1"});
  expect([] { return stack({array({2}), array({2})}, 2); }, {"[stack]", "axis 2"});
  expect([] { return expand(array({2}), 3); }, {"[expand]", "axis 3"});
  expect([] { return array({2, 3}).size(2); }, {"[size]", "axis 2"});
  expect([] { return permute(array({2, 3}), {0, 0}); }, {"[permute]", "[0, 0]", "[2, 3]"});
  expect([] { return permute(array({2, 3}), {0}); }, {"[permute]", "[0]"});
  expect([] { return transpose(array({2})); }, {"[transpose]", "two axes", "[2]", "expand"});
  expect([] { return squeeze(array({2, 1}), 0); }, {"[squeeze]", "axis 0 of [2, 1]"});
}

TEST_CASE("Indices out of range are named with the range") {
  expect([] { return index(array({2, 3}), 1, 3); }, {"[index]", "index 3", "axis 1 of [2, 3]"});
  expect([] { return index(array({2, 3}), 0, -3); }, {"[index]", "index -3"});
  expect(
      [] {
        return take(array({4, 2}), Indices({2}, {1, 4}));
      },
      {"[take]", "index 4", "axis 0 of [4, 2]", "0 to 3"});
  expect([] { return take(array({4, 2}), Indices(-1)); }, {"[take]", "index -1"});
  expect([] { return take(V(1), Indices(0)); }, {"[take]", "no axes"});
  expect([] { return gather(array({2, 3}), Indices({2, 1}, {0, 3}), 1); }, {"[gather]", "index 3"});
  expect(
      [] {
        return gather(array({2, 3}), Indices({3}, {0, 1, 2}), 1);
      },
      {"[gather]", "[3]", "[2, 3]"});
  expect(
      [] {
        return scatter_add(array({3}), Indices({2}, {0, 1}), array({3}), 0);
      },
      {"[scatter_add]", "[3]", "[2]"});
  expect(
      [] {
        return one_hot<double>(Indices({2}, {0, 3}), 3);
      },
      {"[one_hot]", "index 3", "0 to 2"});
  expect([] { return slice(array({3}), 0, {.step = 0}); }, {"[slice]", "step is 0"});
  expect([] { return slice(array({3}), {{0, 1}, {0, 1}}); }, {"[slice]", "2 ranges", "[3]"});
}

TEST_CASE("Shapes that cannot be made are named") {
  expect([] { return reshape(array({2, 3}), Shape{4}); }, {"[reshape]", "[4]", "[2, 3]", "6"});
  expect([] { return reshape(array({2, 3}), {4, -1}); }, {"[reshape]", "-1", "[2, 3]"});
  expect([] { return reshape(array({2, 3}), {-1, -1}); }, {"[reshape]", "more than one"});
  expect([] { return reshape(array({0, 3}), {0, -1}); }, {"[reshape]", "-1"});
  expect([] { return broadcast_to(array({2}), Shape{3}); }, {"[broadcast_to]", "[2]", "[3]"});
  expect([] { return broadcast_to(array({2, 3}), Shape{3}); }, {"[broadcast_to]", "[2, 3]", "[3]"});
  expect([] { return sum_to(array({2, 3}), Shape{2}); }, {"[sum_to]", "[2]", "[2, 3]"});
  expect([] { return split(array({7}), 2, 0); }, {"[split]", "[7]", "2 equal parts"});
  expect([] { return split(array({7}), {3, 3}, 0); }, {"[split]", "[3, 3]", "[7]"});
  expect(
      [] {
        return concat({array({2, 3}), array({2, 4})});
      },
      {"[concat]", "part 1", "[2, 4]", "[2, 3]"});
  expect(
      [] {
        return stack({array({2}), array({3})});
      },
      {"[stack]", "part 1", "[3]", "[2]", "equal"});
  expect([] { return concat(std::vector<V>{}); }, {"[concat]", "nothing to join"});
  expect([] { return pad(array({2}), 0, -1, 0); }, {"[pad]", "negative"});
  expect([] { return repeat(array({2}), -1, 0); }, {"[repeat]", "negative"});
  expect([] { return zeros<double>(Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}); }, {"8 axes"});
  expect([] { return zeros<double>(Shape{-1}); }, {"negative"});
  expect([] { return V(Shape{2}, {1, 2, 3}); }, {"[2]", "3"});
  expect([] { return array({2}).item(); }, {"[2]"});
}

TEST_CASE("Reductions over nothing say so, where numpy's do") {
  expect([] { return mean(array({0})); }, {"[mean]", "nothing", "[0]"});
  expect([] { return mean(array({3, 0}), 1); }, {"[mean]", "[3, 0]"});
  expect(
      [] {
        return max(array({3, 0}), 1);
      },
      {"[max]", "nothing to choose from", "axis 1 of [3, 0]"});
  expect([] { return min(array({0})); }, {"[min]", "nothing"});
  expect([] { return logsumexp(array({0})); }, {"[logsumexp]", "nothing"});
  expect([] { return argmax(array({0})); }, {"[argmax]", "nothing"});
  expect([] { return var(array({1}), {}, 1); }, {"[var]", "ddof = 1", "[1]"});
  CHECK(sum(array({0})).item() == 0);
  CHECK(prod(array({0})).item() == 1);
  CHECK(max(array({0, 3}), 1).shape() == Shape{0});
}

TEST_CASE("A loss that is not a single number is refused, with what to do") {
  expect([] { return grad([](const V& x) { return x * 2; })(array({3})); },
         {"[grad]", "[3]", "sum(", "jacobian"});
  expect(
      [] {
        Tape<double> tape;
        const V x = tape.leaf(array({2}));
        return tape.pullback(x * 2)(x);
      },
      {"[pullback]", "[2]"});
  CHECK(grad([](const V& x) {
          return reshape(sum(x), {1, 1});
        })(array({3}))
            .to_vector() == std::vector<double>{1, 1, 1});
}

TEST_CASE("Cotangents and tangents of other shapes are refused") {
  expect([] { return jvp([](const V& x) { return x * 2; }, array({2}), array({3})); },
         {"[jvp]", "[2]", "[3]"});
  expect([] { return vjp([](const V& x) { return x * 2; }, array({2})).pullback(array({3})); },
         {"[vjp]", "[2]", "[3]"});
  Tape<double> tape;
  const V x = tape.leaf(array({2})), y = x * 2;
  expect([&] { return tape.pullback(y, array({3})); }, {"[pullback]", "[2]", "[3]"});
  expect([&] { return tape.pushforward({{x, array({3})}}, y); }, {"[pushforward]", "[2]", "[3]"});
}

TEST_CASE("An empty Var is named as one") {
  const V empty;
  expect([&] { return empty + 1; }, {"empty Var"});
  expect([&] { return tanh(empty); }, {"empty Var"});
  expect([&] { return matmul(array({2, 2}), empty); }, {"empty Var"});
  expect([&] { return empty.shape(); }, {"empty Var"});
  expect([&] { return sum(empty); }, {"empty Var"});
  expect([&] { return grad([](const V& x) { return sum(x); })(empty); }, {"empty Var"});
  expect([&] { return grad([&](const V& x) { return sum(x) + empty; })(array({2})); },
         {"empty Var"});
  Tape<double> tape;
  expect([&] { return tape.leaf(empty); }, {"empty Var"});
}

TEST_CASE("A Var kept beyond its tape is named at its next use") {
  V kept;
  const V g = grad([&](const V& x) {
    kept = x * 2;
    return sum(kept);
  })(array({3}));
  CHECK(g.to_vector() == std::vector<double>{2, 2, 2});
  for (const auto& use : std::vector<std::function<void()>>{
           [&] { (void)(kept + 1); }, [&] { (void)kept.shape(); }, [&] { (void)kept.to_vector(); },
           [&] { (void)matmul(kept, kept); }, [&] { (void)sum(kept); },
           [&] { (void)stop_gradient(kept); },
           [&] {
             (void)concat({kept, kept});
           },
           [&] { (void)fuse([](auto a) { return a; }, kept); },
           [&] { (void)grad([](const V& x) { return sum(x); })(kept); },
           [&] { (void)grad([&](const V& x) { return sum(x * kept); })(array({3})); }}) {
    expect(use, {"[tape]", "no longer exists", "auxiliary result"});
  }
  {
    Tape<double> tape;
    kept = tape.leaf(array({2}));
    CHECK((kept * 2).to_vector() == std::vector<double>{2, 2});
  }
  expect([&] { return kept * 2; }, {"[tape]", "no longer exists"});
  // Also when the next tape has taken the memory of the last.
  Tape<double> next;
  const V y = next.leaf(array({2})) * 3;
  expect([&] { return kept + y; }, {"[tape]", "no longer exists"});
  CHECK(y.to_vector() == std::vector<double>{3, 3});
}

TEST_CASE("Vars of two tapes that do not enclose each other do not mix") {
  Tape<double> a, b;
  const V x = a.leaf(array({2})), y = b.leaf(array({2}));
  expect([&] { return x + y; }, {"[tape]", "neither encloses the other", "one Tape"});
  expect([&] { return matmul(x, y); }, {"[tape]", "neither encloses the other"});
  expect([&] { return concat({x, y}); }, {"[tape]", "neither encloses the other"});
  expect([&] { return where(array({2}), x, y); }, {"[tape]", "neither encloses the other"});
  expect([&] { return a.pullback(sum(y)); }, {"[tape]", "not recorded on this tape"});
  expect([&] { return a.pullback(V(1)); }, {"[tape]", "not recorded on this tape"});
  // Both are as they were.
  CHECK(a.pullback(sum(x * 3))(x).to_vector() == std::vector<double>{3, 3});
  CHECK(b.pullback(sum(y * 4))(y).to_vector() == std::vector<double>{4, 4});
  expect([&] { return a.pullback(sum(x * 3))(y); }, {"[pullback]", "not a leaf"});
}

TEST_CASE("A Var of another thread's tape does not mix with this thread's") {
  Tape<double> tape;
  const V x = tape.leaf(array({2}));
  std::string text;
  std::thread([&] {
    Tape<double> own;
    const V y = own.leaf(array({2}));
    text = message([&] { return x + y; });
    CHECK(own.pullback(sum(y * 2))(y).to_vector() == std::vector<double>{2, 2});
  }).join();
  INFO(text);
  CHECK(contains(text, "[tape]"));
  CHECK(contains(text, "threads"));
  CHECK(tape.pullback(sum(x * 5))(x).to_vector() == std::vector<double>{5, 5});
}

TEST_CASE("After an exception inside a function the tape goes on, and pullbacks are right") {
  Tape<double> tape;
  const V x = tape.leaf(array({2, 3})), w = tape.leaf(array({2, 3}));
  const V y = square(x) * w;
  for (int round = 0; round < 3; ++round) {
    CHECK_THROWS_AS((void)matmul(x, w), std::invalid_argument);
    CHECK_THROWS_AS((void)(y + array({5})), std::invalid_argument);
    CHECK_THROWS_AS((void)reshape(y, Shape{4}), std::invalid_argument);
    CHECK_THROWS_AS((void)tape.pullback(y), std::invalid_argument);
    const V z = sum(y * 2);
    const auto g = tape.pullback(z);
    CHECK(g(x).to_vector() == std::vector<double>(6, 4));
    CHECK(g(w).to_vector() == std::vector<double>(6, 2));
  }
}

namespace {

struct Breaking {  // whose rule throws
  static constexpr auto name = "breaking";
  template <class T>
  Var<T> f(const Var<T>& x) const {
    return x * 1;
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>&) const {
    fail("breaking", "no derivative " + to_string(g.shape()));
  }
};

}  // namespace

TEST_CASE("After an exception inside a rule the tape goes on, and pullbacks are right") {
  Tape<double> tape;
  const V x = tape.leaf(array({3}));
  const V good = sum(x * x * 3), shared = tanh(x);
  const V bad = sum(unroll::apply(Breaking{}, shared)) + sum(shared);
  for (int round = 0; round < 3; ++round) {
    expect([&] { return tape.pullback(bad); }, {"[breaking]", "[3]"});
    CHECK(tape.pullback(good)(x).to_vector() == std::vector<double>(3, 6));
    expect([&] { return tape.pushforward({{x, array({3})}}, bad); }, {"[breaking]"});
  }
  expect(
      [] { return grad([](const V& v) { return sum(unroll::apply(Breaking{}, v)); })(array({3})); },
      {"[breaking]"});
  CHECK(grad([](const V& v) { return sum(v * v); })(array({3})).to_vector() ==
        std::vector<double>(3, 2));

  // In the middle of a sweep that takes its tape apart, with cotangents waiting at several results.
  const Size before = memory_report().live_bytes;
  expect(
      [] {
        return grad([](const V& v) {
          const auto parts = split<3>(unroll::apply(Breaking{}, tanh(v)) * 2, 0);
          const auto [u, w] = fuse(
              [](auto a, auto b) {
                return std::tuple{a * b, a + b};
              },
              parts[0], parts[2]);
          return sum(u) + sum(w * parts[1]);
        })(array({6}));
      },
      {"[breaking]"});
  CHECK(memory_report().live_bytes == before);
}

TEST_CASE("An exception thrown by the user's function passes through every transform") {
  struct Mine {};
  const auto f = [](const V& x) -> V {
    const V y = x * 2;
    if (y.size() > 1) throw Mine{};
    return y;
  };
  CHECK_THROWS_AS((void)grad(f)(array({2})), Mine);
  CHECK_THROWS_AS((void)vjp(f, array({2})), Mine);
  CHECK_THROWS_AS((void)jvp(f, array({2}), array({2})), Mine);
  CHECK_THROWS_AS((void)hessian(f, array({2})), Mine);
  CHECK(grad(f)(array({1})).to_vector() == std::vector<double>{2});
  // From inside an inner transform, with the outer one going on.
  const V g = grad([&](const V& x) {
    V y = x * 3;
    try {
      (void)grad([&](const V& z) { return f(z * y); })(array({2}));
    } catch (const Mine&) {
      y = y * 2;
    }
    return sum(y);
  })(array({2}));
  CHECK(g.to_vector() == std::vector<double>{6, 6});
}

TEST_CASE("Trees of different structure do not mix") {
  const std::vector<V> two(2, V(1)), three(3, V(1));
  expect([&] { return tree_add(two, three); }, {"[tree]", "differ in structure"});
  expect([&] { return jvp([](const std::vector<V>& x) { return x[0]; }, two, three); },
         {"differ in structure"});
}

// ---- what must not compile -----------------------------------------------------------------------------------------

namespace {

template <class A, class B>
concept adds = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept multiplies_matrices = requires(A a, B b) {
  matmul(a, b);
};
template <class A>
concept has_tanh = requires(A a) {
  unroll::tanh(a);
};

}  // namespace

TEST_CASE("float and double do not mix in products, nor do strings in anything") {
  CHECK_FALSE(multiplies_matrices<Var<float>, Var<double>>);
  CHECK(multiplies_matrices<Var<float>, Var<float>>);
  CHECK(adds<Var<float>, double>);
  CHECK(adds<int, Var<double>>);
  CHECK_FALSE(adds<Var<float>, std::string>);
  CHECK_FALSE(has_tanh<std::string>);
  CHECK_FALSE(std::is_constructible_v<Var<float>, Var<double>>);
  CHECK_FALSE(std::is_convertible_v<Var<double>, Var<float>>);
  CHECK_FALSE(std::is_convertible_v<Indices, Var<double>>);
}

TEST_CASE("Sizes whose product no memory holds are refused, with the op and the shape") {
  constexpr Size many = Size{1} << 32, huge = Size{1} << 61;
  const V ten = arange<double>(10), one = ones<double>({1, 1});
  const Key key(1);
  expect([&] { return zeros<float>({many, many}); }, {"[zeros]", "[4294967296, 4294967296]"});
  expect([&] { return ones<float>({many, many}); }, {"[ones]", "[4294967296, 4294967296]"});
  expect([&] { return full<float>({huge}, 1); }, {"[full]", "[2305843009213693952]"});
  expect([&] { return arange<float>(huge); }, {"[arange]", "[2305843009213693952]"});
  expect([&] { return eye<double>(many); }, {"[eye]", "[4294967296, 4294967296]"});
  expect([&] { return one_hot<double>(Indices({1}, {0}), huge); }, {"[one_hot]"});
  expect([&] { return uniform<float>(key, {huge}); }, {"[uniform]", "[2305843009213693952]"});
  expect([&] { return normal<double>(key, {many, many}); }, {"[normal]"});
  expect([&] { return bernoulli<float>(key, {huge}, 0.5); }, {"[bernoulli]"});
  expect([&] { return randint(key, {huge}, 0, 2); }, {"[randint]"});
  expect([&] { return permutation(key, huge); }, {"[permutation]"});
  // 2 · 13 · 419691823 · 2977518503 is 10 in 64 bits.
  expect(
      [&] {
        return reshape(ten, {2, 13, 419691823, 2977518503});
      },
      {"[reshape]", "[2, 13, 419691823, 2977518503]"});
  expect([&] { return reshape(ten, {-1, many, many}); }, {"[reshape]", "4294967296, 4294967296]"});
  expect([&] { return broadcast_to(one, {many, many}); }, {"[broadcast_to]"});
  expect([&] { return repeat(ten, Size{1} << 62, 0); }, {"[repeat]", "[10, 4611686018427387904]"});
  expect([&] { return repeat(ten, -1, 0); }, {"[repeat]", "[10]", "-1 times"});
  expect([&] { return pad(ten, 0, std::numeric_limits<Size>::max(), 0); }, {"[pad]", "[10]"});
  expect([&] { return repeat(zeros<double>({0, 4}), Size{1} << 62, 1); }, {"[repeat]", "[0, 4]"});
  const V column = broadcast_to(one, {many, 1}), row = broadcast_to(one, {1, many});
  expect([&] { return column + row; }, {"[add]", "[4294967296, 4294967296]"});
  expect([&] { return matmul(column, row); }, {"[matmul]", "[4294967296, 4294967296]"});
  expect([&] { return linear(column, column); }, {"[linear]", "[4294967296, 4294967296]"});
  expect(
      [&] {
        return concat({broadcast_to(one, {huge / 4, 1}), broadcast_to(one, {huge / 4, 1})});
      },
      {"[concat]"});
  const V wide = zeros<double>({3, 0});
  CHECK(zeros<float>({0, many}).size() == 0);
  CHECK(reshape(wide, {0, many}).size() == 0);
}

TEST_CASE("An axis that squeeze is told to remove has size 1") {
  expect([] { return squeeze(array({5}), 0); }, {"[squeeze]", "axis 0 of [5]"});
  expect([] { return squeeze(array({1, 5}), {0, 1}); }, {"[squeeze]", "axis 1 of [1, 5]"});
  CHECK(squeeze(array({1, 5})).shape() == Shape{5});
  CHECK(squeeze(array({1, 1}), {0, 1}).shape() == Shape{});
}

TEST_CASE("Steps of slices may be as large as a number can be") {
  const V x = arange<double>(5);
  constexpr Size most = std::numeric_limits<Size>::max(), least = std::numeric_limits<Size>::min();
  CHECK(slice(x, 0, {.step = most}).to_vector() == std::vector<double>{0});
  CHECK(slice(x, 0, {.step = least}).to_vector() == std::vector<double>{4});
  CHECK(slice(x, 0, {.start = 3, .step = most}).to_vector() == std::vector<double>{3});
  CHECK(slice(x, 0, {.start = least, .stop = most, .step = 2}).to_vector() ==
        std::vector<double>{0, 2, 4});
  CHECK(slice(x, 0, {.start = 4, .stop = 0, .step = -3}).to_vector() == std::vector<double>{4, 1});
  const auto f = [&](const V& v) { return sum(slice(v, 0, {.start = 2, .step = least})); };
  CHECK(grad(f)(x).to_vector() == std::vector<double>{0, 0, 1, 0, 0});
}
