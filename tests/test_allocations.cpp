// A training step asks the system for no memory once it is warm: malloc and its relatives are replaced in this program and
// counted. Other threads have pools of their own, which must be as quiet, alone and when a batch is split over them.
// tests/meson.build runs it with UNROLL_GEMM=plain too, so that all products are BLAS's.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cblas.h>
#include <sys/mman.h>

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

// Over two threads the pools are warm when each has packed what either may pack, and which of them packs a weight is not
// certain: until 20 steps in turn ask for nothing, of at most 200.
bool becomes_quiet(auto& step) {
  int quiet = 0;
  for (int k = 0; k < 200 && quiet < 20; ++k) {
    const std::int64_t before = allocations();
    step.step(0.01);
    quiet = allocations() == before ? quiet + 1 : 0;
  }
  return quiet == 20;
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
  // The same with the batch split over two tapes on two threads.
  template <Style style>
  bool user_on_two_threads() {
    using C = Cell<T, style>;
    return on_two_threads(UserModel<T, C>::of(weights, problem.size.H), [](const auto& p, auto& m) {
      return UserProgram<T, C>(p, ReadOut::stacked, m);
    });
  }
  bool layer_on_two_threads(auto make) {
    return on_two_threads(layer_model(weights, make(weights, problem.size.H), problem.size.H),
                          [](const auto& p, const auto& model) { return LayerProgram(p, model); });
  }

 private:
  template <class Model>
  bool on_two_threads(const Model& model, auto make) {
    using Program = decltype(make(problem, model));
    ParallelStep<Program, Model> step(problem, model, 2,
                                      [&](const Problem<T>& part) { return make(part, model); });
    return becomes_quiet(step);
  }
};

// Small (own kernels), with a batch, and large enough for BLAS.
const Case cases[] = {{16, 1, 20}, {48, 16, 10}, {160, 40, 4}};

}  // namespace

TEST_CASE("the counter sees malloc, operator new, aligned allocations and mappings") {
  const auto counts = [](auto&& f) {
    const std::int64_t before = allocations();
    f();
    return allocations() - before;
  };
  void* volatile p = nullptr;
  CHECK(counts([&] { p = std::malloc(100); }) == 1);
  CHECK(counts([&] { p = std::realloc(p, 10000); }) == 1);
  std::free(p);
  CHECK(counts([&] { p = std::calloc(10, 10); }) == 1);
  std::free(p);
  CHECK(counts([&] { p = std::aligned_alloc(64, 6400); }) == 1);
  std::free(p);
  void* aligned = nullptr;
  CHECK(counts([&] { CHECK(posix_memalign(&aligned, 64, 6400) == 0); }) == 1);
  std::free(aligned);
  CHECK(counts([&] { p = ::operator new(100); }) == 1);
  ::operator delete(p);
  CHECK(counts([&] { p = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }) ==
        1);
  munmap(p, 4096);
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

TEST_CASE_TEMPLATE("a step over two threads allocates nothing after warm-up", T, float, double) {
  for (const Case& c : {Case{16, 2, 20}, Case{48, 16, 10}, Case{160, 40, 4}}) {
    CAPTURE(c.H);
    Setting<T, UserElman> elman(c, 1, false);
    CHECK(elman.template user_on_two_threads<Style::ops>());
    CHECK(elman.layer_on_two_threads(LayerOf<T>::elman));
    Setting<T, UserLstm> lstm(c, 4, false);
    CHECK(lstm.template user_on_two_threads<Style::ops>());
    CHECK(lstm.template user_on_two_threads<Style::fused>());
    CHECK(lstm.layer_on_two_threads(LayerOf<T>::lstm));
    Setting<T, UserGru> gru(c, 3, true);
    CHECK(gru.template user_on_two_threads<Style::fused>());
    CHECK(gru.layer_on_two_threads(LayerOf<T>::gru));
  }
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
