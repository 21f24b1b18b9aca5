#include "unroll/models/caption_images/captions.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "unroll/models/data/ragged_examples.hpp"
#include "unroll/models/training/answer_lines.hpp"
#include "unroll/models/training/run_report.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {
namespace {

constexpr Size longest_caption = 50, batch_size = 100;

// The sizes by the names that they have in a file.
constexpr std::array<std::pair<const char*, Size CaptionerSizes::*>, 8> named_sizes{
    {{"rows", &CaptionerSizes::rows},
     {"columns", &CaptionerSizes::columns},
     {"window", &CaptionerSizes::window},
     {"patch", &CaptionerSizes::patch},
     {"features", &CaptionerSizes::features},
     {"memory", &CaptionerSizes::memory},
     {"hidden", &CaptionerSizes::hidden},
     {"embedding", &CaptionerSizes::embedding}}};

std::vector<std::vector<std::string>> sentences_of(const CaptionedImages& set) {
  std::vector<std::vector<std::string>> sentences;
  for (const std::string& caption : set.captions) sentences.push_back(split_words(caption));
  return sentences;
}

AttentionMap map_of(const CaptionModel& model, const ColourImage& image, const std::string& said) {
  const std::vector<std::string> words = split_words(said);
  std::vector<std::int64_t> inputs{Captioner::begin};
  for (const std::int64_t id : model.words.encode(words)) inputs.push_back(id);
  inputs.pop_back();  // the last word is written, nothing is written after it
  const auto steps = Size(inputs.size());
  const std::vector<float> weights =
      model.net.attention(colour_values({image}), Indices({steps, 1}, inputs)).to_vector();
  const CaptionerSizes& n = model.net.sizes;
  const Size across = n.windows(n.columns);
  AttentionMap map{.rows = words, .weights = {weights.begin(), weights.end()}};
  for (Size w = 0; w < n.windows(n.rows) * across; ++w) {
    map.columns.push_back(fmt::format("{},{}", w / across + 1, w % across + 1));
  }
  map.caption = fmt::format(
      "\"{}\": a row for each word, a column for each window of the image (its row, its column).",
      said);
  return map;
}

}  // namespace

TokenVocabulary caption_vocabulary(const CaptionedImages& set) {
  return TokenVocabulary::of(sentences_of(set), {.specials = {"<s>", "</s>", "<unk>"}});
}

CaptionBatch caption_batch(const CaptionedImages& set, const TokenVocabulary& words,
                           std::span<const Size> chosen) {
  std::vector<ColourImage> images;
  std::vector<std::vector<std::int64_t>> inputs, targets;
  Size counted = 0;
  for (const Size i : chosen) {
    images.push_back(set.images[std::size_t(i)]);
    targets.push_back(words.encode(split_words(set.captions[std::size_t(i)])));
    inputs.push_back(targets.back());
    inputs.back().insert(inputs.back().begin(), Captioner::begin);
    targets.back().push_back(Captioner::end);
    counted += Size(targets.back().size());
  }
  return {colour_values(images), padded_ids(inputs, Captioner::end), padded_ids(targets, -1),
          counted};
}

std::vector<std::string> write_captions_for(const Captioner& net, const TokenVocabulary& words,
                                            const std::vector<ColourImage>& images, Size beam) {
  std::vector<std::string> captions;
  const std::span<const ColourImage> all(images);
  for (std::size_t first = 0; first < images.size(); first += std::size_t(batch_size)) {
    const auto part = all.subspan(first, std::min(std::size_t(batch_size), images.size() - first));
    for (const auto& found :
         net.describe(colour_values({part.begin(), part.end()}), beam, longest_caption)) {
      captions.push_back(join_words(words.decode(found.front().tokens)));
    }
  }
  return captions;
}

double exact_match(const Captioner& net, const TokenVocabulary& words, const CaptionedImages& set,
                   Size beam) {
  if (set.images.empty()) fail("exact_match", "there are no images");
  const std::vector<std::string> said = write_captions_for(net, words, set.images, beam);
  Size right = 0;
  for (std::size_t i = 0; i < said.size(); ++i) right += said[i] == set.captions[i];
  return double(right) / double(said.size());
}

std::map<std::string, std::string> caption_metadata(const CaptionerSizes& sizes,
                                                    const TokenVocabulary& words) {
  std::map<std::string, std::string> metadata{{"words", words.to_string()}};
  for (const auto& [name, member] : named_sizes) metadata[name] = std::to_string(sizes.*member);
  return metadata;
}

CaptionModel load_captioner(const std::filesystem::path& path) {
  const auto metadata = read_safetensors(path).metadata;
  CaptionerSizes sizes;
  for (const auto& [name, member] : named_sizes) {
    sizes.*member = size_in(metadata, name, path.string());
  }
  const auto words = metadata.find("words");
  if (words == metadata.end()) throw FormatError(path.string(), "it carries no vocabulary");
  CaptionModel model{{}, TokenVocabulary::from_string(words->second)};
  sizes.vocabulary = model.words.size();
  model.net = Captioner::make(Key(), sizes);
  load(path, model.net);
  return model;
}

void write_caption_report(const std::filesystem::path& path, const std::string& command,
                          const TrainingHistory& history, const CaptionModel& model,
                          const CaptionedImages& test, double share) {
  Report page("A network describes images",
              "A decoder looks at windows of the image, word by word.");
  page.figures({{fmt::format("{:.4f}", share), "exact match on test images"},
                {grouped(test.size()), "test images"}});
  add_learning(page, history,
               {.loss = "nats per word", .metric = "exact match", .weight = "words"});
  const std::size_t shown = std::min<std::size_t>(3, test.images.size());
  const std::vector<ColourImage> first(test.images.begin(), test.images.begin() + Size(shown));
  const std::vector<std::string> said = write_captions_for(model.net, model.words, first, 3);
  std::vector<AttentionMap> maps;
  Report::Pairs samples;
  for (std::size_t i = 0; i < shown; ++i) {
    if (!said[i].empty()) maps.push_back(map_of(model, first[i], said[i]));
    samples.emplace_back("right: " + test.captions[i], "said:  " + said[i]);
  }
  add_attention_maps(page, maps);
  add_samples(page, "Captions", samples);
  add_facts(page, command, {{"parameters", grouped(parameter_count(model.net))}});
  page.write(path);
}

}  // namespace unroll
