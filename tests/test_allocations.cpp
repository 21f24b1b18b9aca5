// A training step asks the system for no memory once it is warm: malloc and its relatives are replaced in this program and
// counted. Other threads have pools of their own, which must be as quiet.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cblas.h>

#include <thread>

#include "unroll/bench/allocation_counter.hpp"
#include "unroll/bench/user_cells.hpp"

using namespace unroll;
using namespace unroll::bench;

namespace {

constexpr int warm_up = 3, counted = 5;

// How many times `counted` steps ask for memory.
std::int64_t allocations_of(auto& step) {
  for (int k = 0; k < warm_up; ++k) step.step(0.01);
  const std::int64_t before = allocations();
  for (int k = 0; k < counted; ++k) step.step(0.01);
  return allocations() - before;
}

template <class T, template <class, Style> class Cell>
struct Setting {
  Problem<T> problem;
  Weights<T> weights;
  Setting(const Case& size, Size gates, bool inner_bias)
      : problem(make_problem<T>(size)), weights(make_weights<T>(size.H, gates, inner_bias)) {}
  template <Style style>
  std::int64_t user(ReadOut read_out = ReadOut::stacked) {
    UserStep<T, Cell<T, style>> step(problem, weights, read_out);
    return allocations_of(step);
  }
  std::int64_t layer(auto make) {
    LayerStep<T, decltype(make(weights, problem.size.H))> step(problem, weights,
                                                               make(weights, problem.size.H));
    return allocations_of(step);
  }
};

// Small (own kernels), with a batch, and large enough for BLAS.
const Case cases[] = {{16, 1, 20}, {48, 16, 10}, {160, 40, 4}};

}  // namespace

TEST_CASE("the counter sees malloc, operator new and aligned allocations") {
  const std::int64_t before = allocations();
  auto* volatile a = new int[100];
  void* volatile b = std::aligned_alloc(64, 6400);
  delete[] a;
  std::free(b);
  CHECK(allocations() - before == 2);
}

TEST_CASE_TEMPLATE("a step of a user's cell allocates nothing after warm-up", T, float, double) {
  for (const Case& c : cases) {
    CAPTURE(c.H);
    Setting<T, UserElman> elman(c, 1, false);
    CHECK(elman.template user<Style::ops>() == 0);
    CHECK(elman.template user<Style::ops>(ReadOut::per_step) == 0);
    CHECK(elman.template user<Style::fused>() == 0);
    Setting<T, UserLstm> lstm(c, 4, false);
    CHECK(lstm.template user<Style::ops>() == 0);
    CHECK(lstm.template user<Style::fused>() == 0);
    Setting<T, UserGru> gru(c, 3, true);
    CHECK(gru.template user<Style::ops>() == 0);
    CHECK(gru.template user<Style::fused>() == 0);
  }
}

TEST_CASE_TEMPLATE("a step of a layer allocates nothing after warm-up", T, float, double) {
  for (const Case& c : cases) {
    CAPTURE(c.H);
    CHECK(Setting<T, UserElman>(c, 1, false).layer(LayerOf<T>::elman) == 0);
    CHECK(Setting<T, UserLstm>(c, 4, false).layer(LayerOf<T>::lstm) == 0);
    CHECK(Setting<T, UserGru>(c, 3, true).layer(LayerOf<T>::gru) == 0);
  }
}

TEST_CASE("a step on a second thread allocates nothing after warm-up") {
  std::int64_t ops = -1, layer = -1;
  std::thread([&] {
    Setting<float, UserLstm> lstm({48, 16, 10}, 4, false);
    ops = lstm.user<Style::ops>();
    layer = lstm.layer(LayerOf<float>::lstm);
  }).join();
  CHECK(ops == 0);
  CHECK(layer == 0);
}

int main(int argc, char** argv) {
  openblas_set_num_threads(1);  // its own threads would be counted too
  // ALLOCATION_TRACE=n shows where the first n allocations of a warm step come from.
  if (const char* n = std::getenv("ALLOCATION_TRACE")) {
    Setting<float, UserLstm> lstm({16, 1, 20}, 4, false);
    LayerStep<float, Lstm<float>> layer(lstm.problem, lstm.weights,
                                        LayerOf<float>::lstm(lstm.weights, 16));
    UserStep<float, UserLstm<float, Style::ops>> ops(lstm.problem, lstm.weights, ReadOut::stacked);
    for (int k = 0; k < warm_up; ++k) ops.step(0.01), layer.step(0.01);
    trace_allocations(std::atoi(n));
    ops.step(0.01);
    trace_allocations(std::atoi(n));
    layer.step(0.01);
    trace_allocations(0);
  }
  return doctest::Context(argc, argv).run();
}
