// Models and optimisers to files and back.
#include <doctest/doctest.h>

#include <unistd.h>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "unroll/nn/nn.hpp"

using namespace unroll;

namespace {

// A folder of its own, removed at the end.
class Folder {
 public:
  Folder()
      : path_(std::filesystem::temp_directory_path() /
              ("unroll_models_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path file(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

template <class T>
struct Net {
  std::vector<Linear<T>> layers;
  Lstm<T> cell;
  Var<double> scale;  // another element type than the rest, when T is float
  Var<T> frozen;
  std::optional<Var<T>> extra;
  static constexpr auto fields() {
    return std::tuple{field("layers", &Net::layers), field("cell", &Net::cell),
                      field("scale", &Net::scale), constant("frozen", &Net::frozen),
                      field("extra", &Net::extra)};
  }
  static Net make(const Key& key) {
    const auto k = split<4>(key);
    return {{Linear<T>::make(k[0], 3, 4), Linear<T>::make(k[1], 4, 2)},
            Lstm<T>::make(k[2], 2, 3),
            0.1,
            normal<T>(k[3], {5}),
            std::nullopt};
  }
};

template <class M>
std::vector<std::string> state_names(const M& model) {
  std::vector<std::string> names;
  for_each_state(model, [&](const std::string& name, const auto&) { names.push_back(name); });
  return names;
}

template <class M>
std::vector<double> state_values(const M& model) {
  std::vector<double> values;
  for_each_state(model, [&](const std::string&, const auto& p) {
    for (auto x : p.to_vector()) values.push_back(static_cast<double>(x));
  });
  return values;
}

std::string load_error(const std::filesystem::path& path, auto& model, const LoadOptions& o = {}) {
  try {
    load(path, model, o);
  } catch (const FormatError& e) {
    return e.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE_TEMPLATE("A model comes back from its file bit for bit", T, float, double) {
  const Folder folder;
  const auto path = folder.file("net.safetensors");
  Net<T> net = Net<T>::make(Key(1));
  // Values that a conversion to text or another type would lose.
  net.frozen = Var<T>({4}, {T(0.1), -T(0), std::numeric_limits<T>::denorm_min(),
                            std::numeric_limits<T>::infinity()});
  save(path, net, {{"epoch", "12"}});
  Net<T> other = Net<T>::make(Key(2));
  other.frozen = zeros<T>({4});
  const Metadata metadata = load(path, other);
  CHECK(metadata == Metadata{{"epoch", "12"}});
  CHECK(state_values(other) == state_values(net));
  CHECK(std::signbit(other.frozen.to_vector()[1]));
  CHECK(other.layers[0].weight.shape() == Shape{4, 3});

  const SafetensorsFile file = read_safetensors(path);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file.tensors) names.push_back(name);
  CHECK(names == state_names(net));
  CHECK(names[0] == "layers.0.weight");
  CHECK(file.find("cell.bias_hh")->dtype == (std::is_same_v<T, float> ? "F32" : "F64"));
  CHECK(file.find("scale")->dtype == "F64");
  CHECK(file.find("scale")->shape.empty());
}

TEST_CASE("Views are saved with the values they show, and arrays without elements too") {
  const Folder folder;
  const auto path = folder.file("x.safetensors");
  const Var<float> x = transpose(Var<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  save(path, x);
  Var<float> back;  // an empty Var takes the shape of the file
  load(path, back);
  CHECK(back.shape() == Shape{3, 2});
  CHECK(back.to_vector() == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(read_safetensors(path).find("value") != nullptr);
  save(path, zeros<double>({0, 3}));
  Var<double> none;
  load(path, none);
  CHECK(none.shape() == Shape{0, 3});
}

TEST_CASE("Training goes on from the file as if it had not stopped") {
  const Folder folder;
  const auto path = folder.file("run.safetensors");
  const Var<float> x = normal<float>(Key(5), {8, 3}), y = normal<float>(Key(6), {8, 2});
  const auto advance = [&](auto& run, int steps) {
    auto& [model, optimizer] = run;
    for (int i = 0; i < steps; ++i) {
      optimizer.step(model,
                     value_and_grad([&](const auto& m) { return mse(m(x), y); }, model).gradient);
    }
  };
  const auto check = [&](auto run) {
    auto resumed = run;
    advance(run, 5);
    save(path, run);
    advance(run, 5);
    load(path, resumed);
    advance(resumed, 5);
    CHECK(state_values(resumed) == state_values(run));
  };
  const Linear<float> model = Linear<float>::make(Key(7), 3, 2);
  check(std::pair{model, Adam(model, {.learning_rate = 0.1})});
  check(std::pair{model, AdamW(model, {.learning_rate = 0.1})});
  check(std::pair{model, Sgd(model, {.learning_rate = 0.1, .momentum = 0.9})});
}

TEST_CASE("A file that is not this model's is refused with its name and the tensor's") {
  const Folder folder;
  const auto path = folder.file("net.safetensors");
  const auto net = Net<float>::make(Key(1));
  auto other = Net<float>::make(Key(2));
  const auto before = state_values(other);

  Net<float> grown = net;
  grown.extra = zeros<float>({2});
  save(path, grown);
  std::string error = load_error(path, other);
  CHECK(contains(error, path.string() + ": "));
  CHECK(contains(error, "the model has nothing for these tensors of the file: \"extra\""));

  save(path, net);
  Net<float> larger = grown;
  error = load_error(path, larger);
  CHECK(contains(error, "there is no tensor \"extra\""));
  CHECK(state_values(larger) == state_values(grown));

  Net<float> reshaped = net;
  reshaped.cell.weight_ih = zeros<float>({2, 12});
  save(path, reshaped);
  error = load_error(path, other);
  CHECK(contains(error, "tensor \"cell.weight_ih\" has shape [2, 12], the model's has [12, 2]"));

  SafetensorsFile file;
  file.tensors.emplace_back("value", TensorData{"I64", {1}, std::vector<std::byte>(8)});
  write_safetensors(path, file);
  Var<float> x = zeros<float>({1});
  CHECK(contains(load_error(path, x), "tensor \"value\" is I64; only F32 and F64 can be loaded"));

  CHECK(state_values(other) == before);  // after all of that
  CHECK_THROWS_AS(load(folder.file("absent.safetensors"), other), FileError);
}

TEST_CASE("Element types are converted only when that is asked for") {
  const Folder folder;
  const auto path = folder.file("net.safetensors");
  const auto doubles = Linear<double>::make(Key(1), 3, 2);
  save(path, doubles);
  auto floats = Linear<float>::make(Key(2), 3, 2);
  CHECK(contains(load_error(path, floats), "tensor \"weight\" is F64, the model's is F32"));
  load(path, floats, {.cast = CastTensors::yes});
  CHECK(floats.weight.to_vector() == cast<float>(doubles.weight).to_vector());
  save(path, floats);
  auto back = doubles;
  load(path, back, {.cast = CastTensors::yes});
  CHECK(back.bias.to_vector() == cast<double>(floats.bias).to_vector());
}

TEST_CASE("A model that is not initialised is not saved, and the old file stays") {
  const Folder folder;
  const auto path = folder.file("net.safetensors");
  save(path, Linear<float>::make(Key(1), 3, 2));
  const SafetensorsFile before = read_safetensors(path);
  CHECK_THROWS_WITH_AS(save(path, Linear<float>{}),
                       "[save] \"weight\" is an empty Var: the model is not initialised",
                       std::invalid_argument);
  CHECK(read_safetensors(path) == before);
  CHECK_THROWS_AS(save(folder.file("no/such/folder.safetensors"), zeros<float>({1})), FileError);
}
