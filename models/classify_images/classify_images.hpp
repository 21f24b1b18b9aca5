// One-to-one: an image in, its class out; by a feed-forward network, and by a recurrent one that reads
// the image row by row, side by side in one model.
//
//   auto net = ImageClassifiers::make(Key(1), {.rows = 28, .columns = 28, .classes = 10});
//   const ClassLogits logits = net(images);                   // [B, 28, 28] -> [B, 10] from each
//   Var<float> loss = net.loss(images, labels);               // the sum of both cross-entropies
//
// The two share nothing but the standardisation of their input, so each learns as if it were alone.
#pragma once

#include "unroll/models/feed_forward.hpp"
#include "unroll/models/training/answer_lines.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/probe.hpp"

namespace unroll {

/// An LSTM whose steps are the rows of an image; what it knows after the last one decides.
struct RowReader {
  Lstm<float> cell;
  Linear<float> out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &RowReader::cell), field("out", &RowReader::out)};
  }
  // [B, rows, columns] -> [B, classes]
  [[nodiscard]] Var<float> operator()(const Var<float>& images) const {
    const Var<float> rows = permute(images, {1, 0, 2});  // [rows, B, columns]: a row is a step
    return out(unroll::unroll(cell, rows, cell.initial_state(images.size(0))).state.h);
  }
};

struct ClassifierSizes {
  Size rows = 28, columns = 28, classes = 10;
  Size hidden = 256;      // of the feed-forward network's first layer; its second has half
  Size row_hidden = 128;  // of the LSTM

  // What a model's file says about itself.
  [[nodiscard]] std::map<std::string, std::string> metadata() const {
    return {{"rows", std::to_string(rows)},
            {"columns", std::to_string(columns)},
            {"classes", std::to_string(classes)},
            {"hidden", std::to_string(hidden)},
            {"row_hidden", std::to_string(row_hidden)}};
  }
  [[nodiscard]] static ClassifierSizes of(const std::map<std::string, std::string>& metadata,
                                          const std::string& file) {
    return {size_in(metadata, "rows", file), size_in(metadata, "columns", file),
            size_in(metadata, "classes", file), size_in(metadata, "hidden", file),
            size_in(metadata, "row_hidden", file)};
  }
};

struct ClassLogits {
  Var<float> all_at_once, row_by_row;  // [B, classes]
};

struct ImageClassifiers {
  Var<float> mean, deviation;  // of a pixel, over the training images
  FeedForward<float> all_at_once;
  RowReader row_by_row;
  static constexpr auto fields() {
    return std::tuple{constant("mean", &ImageClassifiers::mean),
                      constant("deviation", &ImageClassifiers::deviation),
                      field("all_at_once", &ImageClassifiers::all_at_once),
                      field("row_by_row", &ImageClassifiers::row_by_row)};
  }

  [[nodiscard]] static ImageClassifiers make(const Key& key, const ClassifierSizes& n) {
    const auto k = split<3>(key);
    return {0.0F,
            1.0F,
            FeedForward<float>::make(k[0], {n.rows * n.columns, n.hidden, n.hidden / 2, n.classes}),
            {Lstm<float>::make(k[1], n.columns, n.row_hidden),
             Linear<float>::make(k[2], n.row_hidden, n.classes)}};
  }

  // images [B, rows, columns]
  [[nodiscard]] ClassLogits operator()(const Var<float>& images) const {
    const Var<float> x = standardise(images);
    return {all_at_once(reshape(x, {x.size(0), -1})), row_by_row(x)};
  }
  [[nodiscard]] Var<float> loss(const Var<float>& images, const Indices& labels) const {
    const ClassLogits logits = (*this)(images);
    return cross_entropy(logits.all_at_once, labels) + cross_entropy(logits.row_by_row, labels);
  }
  /// The norm of the gradient of the LSTM's loss by its state after each row (nn/probe.hpp).
  [[nodiscard]] std::vector<double> gradient_by_row(const Var<float>& images,
                                                    const Indices& labels) const {
    const Lstm<float>& cell = row_by_row.cell;
    const Var<float> rows = permute(standardise(images), {1, 0, 2});
    return state_gradient_norms(
        cell, rows, cell.initial_state(images.size(0)),
        [&](const auto& run) { return cross_entropy(row_by_row.out(run.state.h), labels); });
  }

 private:
  [[nodiscard]] Var<float> standardise(const Var<float>& images) const {
    return (images - mean) / deviation;
  }
};

}  // namespace unroll
