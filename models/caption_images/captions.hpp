// Between a captioner and sentences: batches to train on, captions that it writes, and the page about it.
//
//   const CaptionBatch batch = caption_batch(set, words, chosen);
//   const std::vector<std::string> said = write_captions_for(net, words, set.images, 3);
//   const double share = exact_match(net, words, test, 3);
//
// Invariant: the vocabulary begins with <s>, </s> and <unk>, as caption_vocabulary makes it.
#pragma once

#include <map>
#include <span>

#include "unroll/models/caption_images/caption_images.hpp"
#include "unroll/models/caption_images/generator.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/models/training/history.hpp"

namespace unroll {

/// The words of all captions, after the special ones.
[[nodiscard]] TokenVocabulary caption_vocabulary(const CaptionedImages& set);

struct CaptionBatch {
  Var<float> images;        // [B, rows, columns, 3]
  Indices inputs, targets;  // [T, B]: from <s> on, and to </s>; -1 in targets behind it
  Size words = 0;           // targets that count
};
[[nodiscard]] CaptionBatch caption_batch(const CaptionedImages& set, const TokenVocabulary& words,
                                         std::span<const Size> chosen);

/// The likeliest caption that a beam search finds for each image.
[[nodiscard]] std::vector<std::string> write_captions_for(const Captioner& net,
                                                          const TokenVocabulary& words,
                                                          const std::vector<ColourImage>& images,
                                                          Size beam);
/// The share of images whose caption is said word for word.
[[nodiscard]] double exact_match(const Captioner& net, const TokenVocabulary& words,
                                 const CaptionedImages& set, Size beam);

/// What a model's file carries, and the model and vocabulary that it describes. Throws FormatError.
[[nodiscard]] std::map<std::string, std::string> caption_metadata(const CaptionerSizes& sizes,
                                                                  const TokenVocabulary& words);
struct CaptionModel {
  Captioner net;
  TokenVocabulary words;
};
[[nodiscard]] CaptionModel load_captioner(const std::filesystem::path& path);

/// Curves, and for some images what is said about them and where each word looks. Throws FileError.
void write_caption_report(const std::filesystem::path& path, const std::string& command,
                          const TrainingHistory& history, const CaptionModel& model,
                          const CaptionedImages& test, double share);

}  // namespace unroll
