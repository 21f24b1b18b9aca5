#include "unroll/models/translate/text_translator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "unroll/models/training/answer_lines.hpp"
#include "unroll/nn/bleu.hpp"

namespace unroll {
namespace {

constexpr std::size_t side_by_side = 64;  // sentences translated in one batch
constexpr Size largest_size = 8192;

std::string entry(const Metadata& metadata, const std::string& name, const std::string& file) {
  const auto found = metadata.find(name);
  if (found == metadata.end()) {
    throw FormatError(file, "says no \"" + name + "\": it is no translator's best model");
  }
  return found->second;
}

}  // namespace

std::vector<Words> TextTranslator::translate(std::span<const Words> sentences,
                                             const BeamOptions& options) const {
  std::vector<std::size_t> order(sentences.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return sentences[i].size(); });
  std::vector<Words> out(sentences.size());
  const auto first = std::size_t(
      std::ranges::find_if(order, [&](std::size_t i) { return !sentences[i].empty(); }) -
      order.begin());
  for (std::size_t begin = first; begin < order.size(); begin += side_by_side) {
    const auto chosen =
        std::span(order).subspan(begin, std::min(side_by_side, order.size() - begin));
    std::vector<std::vector<std::int64_t>> ids;
    for (const std::size_t i : chosen) ids.push_back(with_end(words.source, sentences[i]));
    const auto best = model.translate(source_batch(ids), options);
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      out[chosen[k]] = words.target.decode(best[k].tokens);
    }
  }
  return out;
}

TranslationScores TextTranslator::score(std::span<const TextPair> pairs,
                                        const BeamOptions& options) const {
  if (pairs.empty()) fail("TextTranslator::score", "there are no pairs of sentences");
  std::vector<Words> sources;
  for (const TextPair& pair : pairs) sources.push_back(pair.source);
  TranslationScores scores{.translations = translate(sources, options)};
  Bleu bleu;
  double right = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    bleu.add_tokens(scores.translations[i], std::span(&pairs[i].target, 1));
    right += scores.translations[i] == pairs[i].target;
  }
  scores.bleu = bleu.score();
  scores.exact_match = right / double(pairs.size());
  return scores;
}

AttentionMap TextTranslator::attention(const Words& source, const Words& target) const {
  const std::vector<TextPair> pair{{source, target}};
  const std::vector<Size> one{0};
  const Var<float> weights = model.attention(SentencePairs(pair, words).batch(one));  // [T, 1, S]
  AttentionMap map{.rows = target, .columns = source};
  map.rows.push_back(words.target.token(end_token));
  map.columns.push_back(words.source.token(end_token));
  const std::vector<float> values = weights.to_vector();
  map.weights.assign(values.begin(), values.end());
  return map;
}

TextTranslator TextTranslator::load(const std::filesystem::path& path) {
  const Metadata metadata = read_safetensors(path).metadata;
  const std::string file = path.string();
  TextTranslator out;
  out.words = {TokenVocabulary::from_string(entry(metadata, "source vocabulary", file)),
               TokenVocabulary::from_string(entry(metadata, "target vocabulary", file))};
  if (out.words.source.size() <= end_token || out.words.target.size() <= end_token) {
    throw FormatError(file, "a vocabulary lacks the special tokens");
  }
  out.model =
      Translator::make(Key(), {.source = out.words.source.size(),
                               .target = out.words.target.size(),
                               .embedding = size_in(metadata, "embedding", file, largest_size),
                               .hidden = size_in(metadata, "hidden", file, largest_size)});
  (void)unroll::load(path, out.model);
  return out;
}

Metadata metadata_of(const TranslationVocabularies& words, const TranslatorSizes& sizes) {
  return {{"source vocabulary", words.source.to_string()},
          {"target vocabulary", words.target.to_string()},
          {"embedding", std::to_string(sizes.embedding)},
          {"hidden", std::to_string(sizes.hidden)}};
}

void add_translations(Report& report, const TextTranslator& translator,
                      std::span<const TextPair> test, const TranslationScores& scores) {
  constexpr std::size_t most = 12, drawn = 4;
  std::vector<AttentionMap> maps;
  Report::Pairs samples;
  for (std::size_t i = 0; i < std::min(test.size(), most); ++i) {
    const Words& translation = scores.translations[i];
    if (i < drawn) maps.push_back(translator.attention(test[i].source, translation));
    samples.emplace_back(
        join_words(test[i].source),
        fmt::format("{}\n(reference: {})", join_words(translation), join_words(test[i].target)));
  }
  add_attention_maps(report, maps);
  add_samples(report, "Translations", samples,
              fmt::format("BLEU {:.2f} of the tokens as they are, exact match {:.4f}, on {} test "
                          "sentences; the first of them:",
                          scores.bleu, scores.exact_match, test.size()));
}

}  // namespace unroll
