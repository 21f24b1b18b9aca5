// Where gradients vanish and explode: the notes' sum over paths, term by term. From the loss of step
// t to an earlier step k lie t - k products with W: its spectral radius decides what is left.
#include <unroll/examples/check.hpp>
#include <unroll/examples/options.hpp>
#include <unroll/models/hand_and_tape.hpp>
#include <unroll/models/path_contributions.hpp>
#include <unroll/models/training/pictures.hpp>

#include <fstream>
#include <iostream>

using namespace unroll;

struct Options {
  Size steps = 20, hidden = 16;
  std::string folder;
};

// The norms of all terms for W = radius · (an orthogonal matrix); small inputs keep tanh near its
// straight part.
void show(double radius, const std::string& name, const Options& o, examples::Checks& checks) {
  const auto k = split<5>(Key(6));
  const Size inputs = 4, classes = 3, batch = 8;
  const double small = 0.01 * std::pow(std::max(radius, 1.0), -static_cast<double>(o.steps));
  const NotesRnn<double> net{small * normal<double>(k[0], {o.hidden, inputs}),
                             orthogonal<double>(k[1], {o.hidden, o.hidden}, radius),
                             zeros<double>({o.hidden}), normal<double>(k[2], {classes, o.hidden}),
                             zeros<double>({classes})};
  const auto xs = normal<double>(k[3], {o.steps, batch, inputs});
  const auto ys = one_hot<double>(randint(k[4], {o.steps, batch}, 0, classes), classes);
  const auto a0 = zeros<double>({batch, o.hidden});

  const auto paths = manual::path_contributions<double>(
      {dense(net.U), dense(net.W), dense(net.b), dense(net.V), dense(net.c)}, dense(xs), dense(ys),
      dense(a0), manual::SharedWeight::U);
  fmt::print("\nspectral radius {}: norms of what step k contributes to dL_t/dU\n", radius);
  manual::print_norms(std::cout, paths.norms);

  // All terms together are the gradient, which the tape finds without telling them apart.
  const auto whole = grad([&](const auto& n) { return n.loss(xs, ys, a0); })(net).U;
  const auto error = max(abs(Var<double>(paths.total) - whole)) / max(abs(whole));
  checks.at_most("sum of all terms against the tape", error.item(), 1e-12);
  // From one step to the one before, the term changes by the radius.
  const auto last = static_cast<std::size_t>(o.steps) - 1, middle = last / 2;
  const double growth = std::pow(paths.norms(last, middle) / paths.norms(last, last),
                                 1.0 / static_cast<double>(last - middle));
  checks.near("growth per step back", growth, radius, 0.1 * radius);

  if (o.folder.empty()) return;
  Dense<double> seen = paths.norms;  // later steps contribute nothing: they stay white
  for (std::size_t t = 0; t <= last; ++t) {
    for (std::size_t late = t + 1; late <= last; ++late) seen(t, late) = std::nan("");
  }
  const Picture picture = heat_map_svg(seen, last + 1, last + 1,
                                       {.title = fmt::format("Spectral radius {}", radius),
                                        .x_title = "used at step k",
                                        .y_title = "loss of step t",
                                        .value_title = "norm",
                                        .scale = Scale::logarithmic,
                                        .first_x = 1,
                                        .first_y = 1});
  const std::string path = o.folder + "/" + name + ".svg";
  std::ofstream(path) << picture.svg;
  fmt::print("{}\n", picture.ok() ? "  drawn: " + path : picture.problem);
}

int main(int argc, char** argv) {
  Options o;
  CLI::App app("What each earlier step contributes to the gradient, for a small and a large W");
  app.option_defaults()->always_capture_default();
  app.add_option("--steps", o.steps, "time steps")->check(CLI::Range(10, 1000));
  app.add_option("--hidden", o.hidden, "hidden units")->check(CLI::Range(1, 1000));
  app.add_option("--svg", o.folder, "also draw heat maps into this folder")
      ->check(CLI::ExistingDirectory);
  if (const auto code = examples::parse(app, argc, argv)) return *code;
  examples::Checks checks;
  show(0.5, "vanishing_gradients", o, checks);
  show(1.3, "exploding_gradients", o, checks);
  return checks.exit_code();
}
