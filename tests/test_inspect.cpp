#include "unroll/autograd/inspect.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "unroll/autograd/autograd.hpp"

using namespace unroll;

namespace {

struct Net {
  Var<double> U, W, b;
  static constexpr auto fields() {
    return std::tuple{field("U", &Net::U), field("W", &Net::W), field("b", &Net::b)};
  }
};

Net small_net() { return {ones<double>({4, 3}), ones<double>({4, 4}), ones<double>({4})}; }

// The states a_1, ..., a_T; xs is taken apart before the first step.
std::vector<Var<double>> run(const Net& net, const Var<double>& xs) {
  const std::vector<Var<double>> x = unbind(xs, 0);
  std::vector<Var<double>> states;
  Var<double> a = zeros<double>({2, 4});
  for (const Var<double>& x_t : x) {
    const Var<double> from_input = linear(x_t, net.U);
    const Var<double> from_state = linear(a, net.W);
    a = tanh(from_input + from_state + net.b);
    states.push_back(a);
  }
  return states;
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// What stands between `subgraph cluster_t {` and its closing brace.
std::string cluster(const std::string& dot, int t) {
  const std::size_t begin = dot.find("subgraph cluster_" + std::to_string(t) + " {");
  REQUIRE(begin != std::string::npos);
  return dot.substr(begin, dot.find("\n  }", begin) - begin);
}

}  // namespace

TEST_CASE("a tape prints one line per node: number, op, shape, inputs by number or as constants") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(Var<double>({3}, {1, 2, 3}));
  const Var<double> W = tape.leaf(ones<double>({2, 3}));
  const Var<double> y = linear(x, W);
  const Var<double> z = sum(y * ones<double>({2}));
  const std::string expected =
      "0  leaf    [3]     x\n"
      "1  leaf    [2, 3]\n"
      "2  linear  [2]     <- 0, 1\n"
      "3  mul     [2]     <- 2, const [2]\n"
      "4  sum     []      <- 3  loss\n";
  CHECK(to_text(tape, {{x, "x"}, {z, "loss"}}) == expected);

  std::ostringstream out;
  out << tape;
  CHECK(out.str() == to_text(tape));
  CHECK(out.str().find("loss") == std::string::npos);
}

TEST_CASE("an empty tape is an empty text and a graph without nodes") {
  const Tape<float> tape;
  CHECK(to_text(tape).empty());
  CHECK(to_dot(tape).find("[label=") == std::string::npos);
}

TEST_CASE("looking at a tape changes nothing: it is read and recorded on afterwards") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(3.0);
  const Var<double> y = x * x;
  const std::string before = to_text(tape);
  CHECK(to_text(tape) == before);
  CHECK(tape.pullback(y)(x).item() == 6.0);
  CHECK(to_text(tape) == before);
  const Var<double> z = y * x;
  CHECK(tape.pullback(z)(x).item() == 27.0);
  CHECK(count(to_text(tape), "\n") == 3);
}

TEST_CASE("a recorded reading appears on the tape as nodes of its own") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(2.0);
  const Var<double> y = x * x * x;
  const std::size_t before = count(to_text(tape), "\n");
  const Var<double> slope = tape.recorded_pullback(y)(x);
  CHECK(slope.item() == 12.0);
  CHECK(count(to_text(tape), "\n") > before);
  CHECK(tape.pullback(slope)(x).item() == 12.0);
}

TEST_CASE(
    "a fused cell with several results is one box in the picture and its results are lines of the "
    "text") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(ones<double>({2}));
  const Var<double> c = tape.leaf(ones<double>({2}));
  const auto [h, d] = fuse(
      [](auto a, auto b) {
        const auto k = sigmoid(a) * b;
        return std::tuple{tanh(k), k};
      },
      x, c);
  const Var<double> y = h * d;
  CHECK(to_text(tape) ==
        "0  leaf    [2]\n"
        "1  leaf    [2]\n"
        "2  fuse    [2]  <- 0, 1\n"
        "3  result  [2]  <- 2\n"
        "4  result  [2]  <- 2\n"
        "5  mul     [2]  <- 3, 4\n");
  const std::string dot = to_dot(tape, {.names = {{d, "c_1"}, {y, "y"}}});
  CHECK(count(dot, "result") == 0);
  CHECK(count(dot, R"("c_1 = fuse\n2 x [2]")") == 1);
  CHECK(count(dot, R"("y = mul\n[2]")") == 1);
  CHECK(count(dot, "  n2 -> n5;") == 2);
}

TEST_CASE("the picture groups nodes by time step and keeps leaves outside") {
  Tape<double> tape;
  const Net net = lift(tape, small_net());
  const Var<double> xs = tape.leaf(ones<double>({3, 2, 3}));
  const std::vector<Var<double>> states = run(net, xs);
  const Var<double> loss = mean(square(states.back()));
  Names<double> names = names_of<double>(net);
  names.emplace_back(xs, "xs");
  names.emplace_back(loss, "L");
  const std::string dot =
      to_dot(tape, {.steps = states, .names = names, .title = "an \"unrolled\" net"});

  CHECK(count(dot, "subgraph cluster_") == 3);
  for (int t = 1; t <= 3; ++t) {
    const std::string step = cluster(dot, t);
    CHECK(step.find("label=\"t = " + std::to_string(t) + "\"") != std::string::npos);
    CHECK(count(step, "linear") == 2);
    CHECK(count(step, "tanh") == 1);
    CHECK(count(step, "add") == 2);
    CHECK(count(step, "ellipse") == 0);
    CHECK(count(step, "square") == 0);
  }
  for (const char* name :
       {R"("U\n[4, 3]")", R"("W\n[4, 4]")", R"("b\n[4]")", R"("xs\n[3, 2, 3]")"}) {
    CHECK(count(dot, name) == 1);
  }
  CHECK(count(dot, R"("split\n3 x [2, 3]")") == 1);
  CHECK(count(dot, R"("L = mean\n[]")") == 1);
  CHECK(count(dot, "ellipse") == 4);
  CHECK(dot.find(R"(label="an \"unrolled\" net")") != std::string::npos);
  CHECK(count(dot, "const") == 0);
  // a_1 and a_2 reach the next step, a_3 the loss; each step stands behind the one before.
  CHECK(count(dot, "penwidth=1.6") == 3);
  CHECK(count(dot, "} -> {") == 2);
  CHECK(dot.find("rankdir=LR") != std::string::npos);
  CHECK(to_dot(tape, {.steps = states, .time = TimeAxis::down}).find("rankdir=TB") !=
        std::string::npos);
  CHECK(std::count(dot.begin(), dot.end(), '{') == std::count(dot.begin(), dot.end(), '}'));
}

TEST_CASE("what many steps use is drawn outside of them, whenever it was recorded") {
  Tape<double> tape;
  const Net net = lift(tape, small_net());
  const Var<double> Wt = transpose(net.W) * 0.5;
  std::vector<Var<double>> states;
  Var<double> a = zeros<double>({2, 4});
  for (int t = 0; t < 4; ++t) {
    a = tanh(matmul(a, Wt) + net.b);
    states.push_back(a);
  }
  const std::string dot = to_dot(tape, {.steps = states});
  for (int t = 1; t <= 4; ++t) {
    CHECK(count(cluster(dot, t), "matmul") == 1);
    CHECK(count(cluster(dot, t), "mul\\n[4, 4]") == 0);
  }
  CHECK(count(dot, "mul\\n[4, 4]") == 1);
}

TEST_CASE("colours have six digits, which Graphviz knows") {
  Tape<double> tape;
  const Net net = lift(tape, small_net());
  const std::string dot =
      to_dot(tape, {.steps = run(net, ones<double>({2, 2, 3})), .constants = Constants::show});
  std::size_t colours = 0;
  for (std::size_t at = dot.find('#'); at != std::string::npos; at = dot.find('#', at + 1)) {
    CHECK(dot.find_first_not_of("0123456789abcdef", at + 1) == at + 7);
    ++colours;
  }
  CHECK(colours > 4);
  CHECK(count(dot, "const\\n[2, 4]") == 1);  // a_0
}

TEST_CASE("a step of another tape, or a constant, is refused") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(1.0);
  Tape<double> other;
  const Var<double> y = other.leaf(1.0);
  CHECK_THROWS_AS((void)to_dot(tape, {.steps = {x, y}}), std::invalid_argument);
  CHECK_THROWS_AS((void)to_dot(tape, {.steps = {Var<double>(2.0)}}), std::invalid_argument);
}

TEST_CASE("a function is traced for inspection without a tape in sight") {
  const Net net = small_net();
  const Var<double> xs = ones<double>({3, 2, 3});
  const auto loss = [&](const Net& n) {
    const auto states = run(n, xs);
    return std::pair{sum(states.back()), states};
  };
  const std::string dot = trace_dot(loss, net);
  CHECK(count(dot, "subgraph cluster_") == 3);
  CHECK(count(dot, R"("U\n[4, 3]")") == 1);

  const std::string text =
      trace_text([](const Var<double>& a, const Var<double>& b) { return a * b; }, 2.0, 3.0);
  CHECK(text == "0  leaf  []  x1\n1  leaf  []  x2\n2  mul   []  <- 0, 1\n");
  CHECK(trace_text([](const Var<double>& a) { return sin(a); }, 2.0) ==
        "0  leaf  []  x\n1  sin   []  <- 0\n");
}
