#include "unroll/nn/safetensors_header.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <utility>

namespace unroll::detail {
namespace {

using nlohmann::json;
using Entry = SafetensorsEntry;

constexpr std::size_t largest_rank = 64;  // what numpy allows; keeps a hostile shape small
constexpr std::string_view metadata_key = "__metadata__";

// A name for a message: escaped, and cut where a hostile file made it megabytes long.
std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 80;
  const bool cut = name.size() > longest;
  const std::string shown(name.substr(0, longest));
  return json(shown).dump(-1, ' ', true, json::error_handler_t::replace) + (cut ? "..." : "");
}

std::string tensor_label(std::string_view name) { return "tensor " + in_quotes(name) + ": "; }

// dtype size times the sizes of the shape; empty where that overflows (zeros do not hide it).
std::optional<std::uint64_t> byte_count(std::size_t dtype_size,
                                        std::span<const std::int64_t> shape) {
  std::uint64_t product = dtype_size;
  bool empty = false;
  for (const std::int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : product;
}

// Reads the header as a stream of events: the DOM of nlohmann-json would silently keep the last of
// two equal names, and would build whatever a hostile header nests. An event that has no place in
// this format throws, so a deep nest is refused at its third level.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderReader(std::string file) : file_(std::move(file)) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(double, const std::string&) override {
    unexpected("a fractional or huge number");
  }
  bool binary(json::binary_t&) override { unexpected("binary data"); }
  bool number_integer(std::int64_t) override { unexpected("a negative number"); }

  bool number_unsigned(std::uint64_t value) override {
    if (where_ == Where::shape) {
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        refuse(label() + "a size in the shape is larger than any tensor");
      }
      if (entry_.shape.size() == largest_rank) {
        refuse(label() + "the shape has more than " + std::to_string(largest_rank) + " axes");
      }
      entry_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (where_ == Where::offsets) {
      if (offset_count_ == 2) refuse(label() + "data_offsets has more than two numbers");
      (offset_count_++ == 0 ? entry_.begin : entry_.end) = value;
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool string(std::string& value) override {
    if (where_ == Where::metadata) {
      header_.metadata.emplace(key_, std::move(value));
    } else if (where_ == Where::tensor && key_ == "dtype") {
      entry_.dtype = std::move(value);
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (where_ == Where::outside) {
      where_ = Where::top;
    } else if (where_ == Where::top && key_ == metadata_key) {
      where_ = Where::metadata;
    } else if (where_ == Where::top) {
      where_ = Where::tensor;
      entry_ = Entry{.name = key_, .dtype = {}, .shape = {}};
      offset_count_ = 0;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    key_ = std::move(key);
    if (where_ == Where::metadata) {
      if (header_.metadata.contains(key_)) {
        refuse("__metadata__: the key " + in_quotes(key_) + " is there twice");
      }
    } else if (where_ == Where::top) {
      if (!names_.insert(key_).second) refuse(tensor_label(key_) + "the name is there twice");
    } else {
      if (key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
        refuse(label() + "unknown field " + in_quotes(key_) +
               "; expected dtype, shape and data_offsets");
      }
      if (!fields_.insert(key_).second) refuse(label() + "the field " + key_ + " is there twice");
    }
    return true;
  }

  bool end_object() override {
    if (where_ == Where::tensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) refuse(label() + "the field " + field + " is missing");
      }
      fields_.clear();
      header_.entries.push_back(std::move(entry_));
    }
    where_ = where_ == Where::top ? Where::outside : Where::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (where_ == Where::tensor && key_ == "shape") {
      where_ = Where::shape;
    } else if (where_ == Where::tensor && key_ == "data_offsets") {
      where_ = Where::offsets;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool end_array() override {
    if (where_ == Where::offsets && offset_count_ != 2) {
      refuse(label() + "data_offsets must be two numbers, begin and end");
    }
    where_ = Where::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The library's text is "[json.exception.parse_error.101] parse error at line 1, ...: cause".
    const std::string_view text = error.what();
    const std::size_t cause = text.find(": ");
    const auto in_header = static_cast<std::int64_t>(position > 0 ? position - 1 : 0);
    const auto header_begin = static_cast<std::int64_t>(safetensors_length_size);
    throw FormatError(file_, {.offset = header_begin + in_header},
                      "the header is not sound JSON: " +
                          std::string(text.substr(cause == text.npos ? 0 : cause + 2, 200)));
  }

 private:
  enum class Where { outside, top, metadata, tensor, shape, offsets };

  [[nodiscard]] std::string label() const { return tensor_label(entry_.name); }

  [[noreturn]] void refuse(const std::string& problem) const { throw FormatError(file_, problem); }

  [[noreturn]] void unexpected(const std::string& what) const {
    switch (where_) {
      case Where::outside:
        refuse("the header must be a JSON object, not " + what);
      case Where::metadata:
        refuse("__metadata__: " + in_quotes(key_) + " must be text, not " + what);
      case Where::tensor:
        refuse(label() + "the field " + key_ + " must not be " + what);
      case Where::shape:
        refuse(label() + "a size in the shape must not be " + what);
      case Where::offsets:
        refuse(label() + "an offset must not be " + what);
      case Where::top:
        break;
    }
    refuse(tensor_label(key_) + "must be an object, not " + what);
  }

  std::string file_;
  SafetensorsHeader header_;
  Where where_ = Where::outside;
  std::string key_;
  Entry entry_;
  int offset_count_ = 0;
  std::set<std::string> names_;
  std::set<std::string> fields_;
};

// Each tensor has the bytes of its shape, and together they tile the data.
void check_entries(const std::string& file, const std::vector<Entry>& entries,
                   std::uint64_t data_size) {
  for (const Entry& entry : entries) {
    const auto refuse = [&](const std::string& problem) {
      throw FormatError(file, tensor_label(entry.name) + problem);
    };
    const std::string offsets =
        "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
    const auto size = safetensors_dtype_size(entry.dtype);
    // A kind of number that is not known here is no reason to refuse what else is in the file.
    const auto expected = size ? byte_count(*size, entry.shape) : entry.end - entry.begin;
    if (!expected) refuse("the sizes of its shape " + shape_string(entry.shape) + " overflow");
    if (entry.begin > entry.end) refuse("data_offsets " + offsets + " run backwards");
    if (entry.end > data_size) {
      refuse("data_offsets " + offsets + " end beyond the data, which has " +
             std::to_string(data_size) + " bytes; is the file truncated?");
    }
    if (entry.end - entry.begin != *expected) {
      refuse("data_offsets " + offsets + " span " + std::to_string(entry.end - entry.begin) +
             " bytes, but " + entry.dtype + " " + shape_string(entry.shape) + " needs " +
             std::to_string(*expected));
    }
  }

  std::vector<const Entry*> by_offset;
  by_offset.reserve(entries.size());
  for (const Entry& entry : entries) by_offset.push_back(&entry);
  std::ranges::sort(by_offset, {}, [](const Entry* e) { return std::pair(e->begin, e->end); });
  std::uint64_t covered = 0;
  for (const Entry* entry : by_offset) {
    if (entry->begin != covered) {
      throw FormatError(file, tensor_label(entry->name) + "begins at data byte " +
                                  std::to_string(entry->begin) + ", but the tensors before it " +
                                  "end at " + std::to_string(covered) +
                                  (entry->begin < covered ? ": they overlap" : ": a hole"));
    }
    covered = entry->end;
  }
  if (covered != data_size) {
    throw FormatError(file, "the tensors end at data byte " + std::to_string(covered) +
                                ", but the data has " + std::to_string(data_size) +
                                " bytes: the rest belongs to none");
  }
}

std::string json_text(const std::string& text, const std::string& what) {
  try {
    return json(text).dump();
  } catch (const json::exception&) {
    fail("write_safetensors", what + " " + in_quotes(text) + " is not UTF-8");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& file_name, const std::string& text,
                                           std::uint64_t data_size) {
  if (!text.starts_with('{')) {
    throw FormatError(file_name, {.offset = safetensors_length_size},
                      "the header does not begin with '{'; is it a safetensors file?");
  }
  if (const std::size_t nul = text.find('\0');
      nul != text.npos) {  // the JSON reader would stop there
    throw FormatError(file_name,
                      {.offset = static_cast<std::int64_t>(safetensors_length_size + nul)},
                      "the header has a byte of value 0");
  }
  HeaderReader reader(file_name);
  json::sax_parse(text, &reader);
  SafetensorsHeader header = reader.take();
  check_entries(file_name, header.entries, data_size);
  return header;
}

std::string safetensors_header_text(const SafetensorsFile& file) {
  std::string text = "{";
  if (!file.metadata.empty()) {
    text += json_text(std::string(metadata_key), "") + ":{";
    for (const auto& [key, value] : file.metadata) {
      text += json_text(key, "the metadata key") + ":";
      text += json_text(value, "the metadata value") + ",";
    }
    text.back() = '}';
    text += ',';
  }
  std::set<std::string_view> names;
  std::uint64_t begin = 0;
  for (const auto& named : file.tensors) {
    const std::string& name = named.first;  // a clang 14 lambda captures no structured binding
    const TensorData& tensor = named.second;
    const auto refuse = [&](const std::string& problem) {
      fail("write_safetensors", tensor_label(name) + problem);
    };
    if (name == metadata_key) refuse("the format keeps this name for itself");
    if (!names.insert(name).second) refuse("the name is there twice");
    const auto size = safetensors_dtype_size(tensor.dtype);
    if (!size) refuse("unknown dtype " + in_quotes(tensor.dtype));
    if (tensor.shape.size() > largest_rank) {
      refuse("the shape has more than " + std::to_string(largest_rank) + " axes");
    }
    const auto expected = byte_count(*size, tensor.shape);
    if (!expected || *expected != tensor.bytes.size()) {
      refuse("has " + std::to_string(tensor.bytes.size()) + " bytes, but " + tensor.dtype + " " +
             shape_string(tensor.shape) + " needs " +
             (expected ? std::to_string(*expected) : "more than any file holds"));
    }
    const std::uint64_t end = begin + *expected;
    text += json_text(name, "the tensor name") + ":" + R"({"dtype":")" + tensor.dtype +
            R"(","shape":)" + json(tensor.shape).dump() + R"(,"data_offsets":[)" +
            std::to_string(begin) + "," + std::to_string(end) + "]},";
    begin = end;
  }
  if (text.back() == ',') text.pop_back();
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > safetensors_largest_header) {
    fail("write_safetensors", "the header would have more than 100 MB; are names this long meant?");
  }
  return text;
}

}  // namespace unroll::detail
