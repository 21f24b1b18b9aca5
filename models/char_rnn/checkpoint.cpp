// CharRnnTrainer::save and load: one safetensors file that holds all a training run needs.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "unroll/models/char_rnn/trainer.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {
namespace {

constexpr std::string_view format = "unroll char_rnn 2";

std::string text_of(const CharRnnOptions& o) {
  return nlohmann::json{{"hidden", o.hidden},
                        {"embedding", o.embedding},
                        {"streams", o.streams},
                        {"window", o.window},
                        {"learning_rate", o.learning_rate},
                        {"half_life", o.half_life},
                        {"dropout", o.dropout},
                        {"clip", o.clip},
                        {"shards", o.shards},
                        {"seed", o.seed}}
      .dump();
}

CharRnnOptions options_in(const std::string& text) {
  const auto json = nlohmann::json::parse(text);
  return {.hidden = json.at("hidden"),
          .embedding = json.at("embedding"),
          .streams = json.at("streams"),
          .window = json.at("window"),
          .learning_rate = json.at("learning_rate"),
          .half_life = json.at("half_life"),
          .dropout = json.at("dropout"),
          .clip = json.at("clip"),
          .shards = json.at("shards"),
          .seed = json.at("seed")};
}

// What the file holds, as a tree: the names below are the tensors' names.
struct Checkpoint {
  CharRnn<float> model;
  Adam<CharRnn<float>> adam;
  std::vector<LstmState<float>> states;
  HistoryArrays history;
  Var<float> training_text, held_out_text;  // code points, all exact in a float

  static constexpr auto fields() {
    return std::tuple{field("model", &Checkpoint::model),
                      field("adam", &Checkpoint::adam),
                      field("states", &Checkpoint::states),
                      field("history", &Checkpoint::history),
                      field("training_text", &Checkpoint::training_text),
                      field("held_out_text", &Checkpoint::held_out_text)};
  }
};

Var<float> array_of(std::u32string_view text) {
  return Var<float>(Shape{Size(text.size())}, std::vector<float>(text.begin(), text.end()));
}

std::u32string text_in(const SafetensorsFile& file, const std::string& path, const char* name) {
  const TensorData* tensor = file.find(name);
  if (!tensor || tensor->dtype != "F32") {
    throw FormatError(path, "no text \"" + std::string(name) + "\": not a checkpoint of char_rnn");
  }
  std::u32string text;
  for (std::size_t i = 0; i + sizeof(float) <= tensor->bytes.size(); i += sizeof(float)) {
    float code = 0;
    std::memcpy(&code, tensor->bytes.data() + i, sizeof(float));
    if (!(code >= 0 && code <= 0x10FFFF && code == std::floor(code))) {
      throw FormatError(path, std::string(name) + " holds what is no character");
    }
    text += static_cast<char32_t>(code);
  }
  return text;
}

}  // namespace

void CharRnnTrainer::save(const std::filesystem::path& path) const {
  const Checkpoint all{model_,
                       adam_,
                       states_,
                       arrays_of(history_),
                       array_of(text_.training),
                       array_of(text_.held_out)};
  unroll::save(path, all,
               {{"format", std::string(format)},
                {"options", text_of(options_)},
                {"vocabulary", vocabulary_.to_string()}});
}

CharRnnTrainer CharRnnTrainer::load(const std::filesystem::path& path, std::size_t threads) {
  const SafetensorsFile file = read_safetensors(path);
  const std::string name = path.string();
  const auto entry = [&](const char* key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
  };
  if (entry("format") != format) throw FormatError(name, "not a checkpoint of char_rnn");
  const auto trainer = [&] {
    try {
      return CharRnnTrainer(
          {text_in(file, name, "training_text"), text_in(file, name, "held_out_text")},
          options_in(entry("options")), threads);
    } catch (const nlohmann::json::exception& e) {
      throw FormatError(name, std::string("the options are damaged: ") + e.what());
    } catch (const std::invalid_argument& e) {
      throw FormatError(name, e.what());
    }
  };
  CharRnnTrainer t = trainer();
  Checkpoint all{t.model_, t.adam_, t.states_, {}, {}, {}};
  unroll::load(path, all);
  t.history_ = history_of(all.history, name);
  t.model_ = std::move(all.model);
  t.adam_ = std::move(all.adam);
  t.states_ = std::move(all.states);
  return t;
}

}  // namespace unroll
