// Grey images with a class each, as MNIST's files hold them.
//
//   BadData bad(OnBadData::stop);
//   const ImageSplits data = read_image_folder("mnist", bad);        // *-images-idx3-ubyte[.gz], *-labels-...
//   const ImageBatch batch = data.training.batch(chosen);           // images [B, rows, columns] in 0..1
//
// An ImageSet is a BatchSource (models/training/dataset.hpp). Invariant: there is a label for each image.
#pragma once

#include <span>

#include "unroll/models/data/idx.hpp"
#include "unroll/models/training/dataset.hpp"

namespace unroll {

struct ImageBatch {
  Var<float> images;  // [B, rows, columns], 0 to 1
  Indices labels;     // [B]
};

struct ImageSet {
  Size rows = 0, columns = 0;
  std::vector<std::uint8_t> pixels = {};  // row-major, image after image
  std::vector<std::int64_t> labels = {};

  [[nodiscard]] Size size() const { return Size(labels.size()); }
  [[nodiscard]] ImageBatch batch(std::span<const Size> chosen) const;
  /// All of it as one batch.
  [[nodiscard]] ImageBatch all() const;
  /// Images first, ..., first + count - 1.
  [[nodiscard]] ImageSet part(Size first, Size count) const;
  /// One more than the largest label.
  [[nodiscard]] Size classes() const;
};

/// From images [N, rows, columns] and labels [N], both of unsigned bytes. Throws DataError; where the two
/// differ in number and bad data are to be skipped, what has no partner is left out.
[[nodiscard]] ImageSet image_set(const IdxArray& images, const IdxArray& labels,
                                 const std::string& name, BadData& bad);

struct ImageSplits {
  ImageSet training, validation, test;
};

/// The files NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte of a folder, packed (.gz) or not. Of train
/// and t10k the latter is the test part; where a folder has t10k alone, the test part is its last fifth. The
/// last tenth of what is left is for validation. Throws FileError, DataError.
[[nodiscard]] ImageSplits read_image_folder(const std::filesystem::path& folder, BadData& bad);
/// FOLDER/NAME-images-idx3-ubyte and FOLDER/NAME-labels-idx1-ubyte; makes the folder. Throws FileError.
void write_images(const std::filesystem::path& folder, const std::string& name,
                  const ImageSet& set);

/// One image as numbers from 0 to 255 between spaces, tabs or commas: [1, rows, columns], 0 to 1. Throws
/// DataError.
[[nodiscard]] Var<float> parse_pixels(std::string_view line, Size rows, Size columns,
                                      const std::string& name, std::int64_t line_number);

/// The image in characters, a line for each row: for pages and terminals.
[[nodiscard]] std::string image_text(const Var<float>& image);

}  // namespace unroll
