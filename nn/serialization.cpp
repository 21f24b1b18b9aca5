#include "unroll/nn/serialization.hpp"

#include <bit>
#include <cstring>

namespace unroll::detail {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors are little-endian, and values are copied as they are");

template <class T>
constexpr const char* dtype_name = std::is_same_v<T, float> ? "F32" : "F64";

template <class To, class From>
Var<To> decode(const TensorData& data) {
  const Shape shape(data.shape.begin(), data.shape.end());
  Ref block = new_block<To>(shape);
  To* out = block->template data<To>();
  const std::size_t n = data.bytes.size() / sizeof(From);
  if constexpr (std::is_same_v<To, From>) {
    if (n > 0) std::memcpy(out, data.bytes.data(), data.bytes.size());
  } else {
    for (std::size_t i = 0; i < n; ++i) {
      From x;
      std::memcpy(&x, data.bytes.data() + i * sizeof(From), sizeof(From));
      out[i] = static_cast<To>(x);
    }
  }
  return Var<To>(Handle(std::move(block)));
}

}  // namespace

template <FloatOrDouble T>
TensorData tensor_of(const std::string& name, const Var<T>& x) {
  if (x.empty()) fail("save", "\"" + name + "\" is an empty Var: the model is not initialised");
  const Ref values = contiguous(x.handle().block());
  const Shape shape = x.shape();
  TensorData data{dtype_name<T>, {shape.begin(), shape.end()}, {}};
  data.bytes.resize(static_cast<std::size_t>(shape.size()) * sizeof(T));
  if (!data.bytes.empty()) std::memcpy(data.bytes.data(), values->data<T>(), data.bytes.size());
  return data;
}

TensorReader::TensorReader(const std::filesystem::path& path)
    : path_(path.string()), file_(read_safetensors(path)), taken_(file_.tensors.size()) {
  for (std::size_t i = 0; i < file_.tensors.size(); ++i) places_[file_.tensors[i].first] = i;
}

void TensorReader::reject(const std::string& what) const { throw FormatError(path_, what); }

template <FloatOrDouble T>
Var<T> TensorReader::get(const std::string& name, const Var<T>& expected, CastTensors cast) {
  using Other = std::conditional_t<std::is_same_v<T, float>, double, float>;
  const auto place = places_.find(name);
  if (place == places_.end()) {
    reject("there is no tensor \"" + name +
           "\", which the model has; was another model saved here?");
  }
  const TensorData& data = file_.tensors[place->second].second;
  if (taken_[place->second]) reject("the model has two parameters with the name \"" + name + "\"");
  taken_[place->second] = true;
  if (!expected.empty()) {
    const Shape shape = expected.shape();
    if (!std::equal(shape.begin(), shape.end(), data.shape.begin(), data.shape.end())) {
      reject("tensor \"" + name + "\" has shape " + shape_string(data.shape) +
             ", the model's has " + to_string(shape));
    }
  }
  if (data.shape.size() > Shape::max_rank) {
    reject("tensor \"" + name + "\" has " + std::to_string(data.shape.size()) +
           " axes; 8 are supported");
  }
  if (data.dtype == dtype_name<T>) return decode<T, T>(data);
  if (data.dtype != dtype_name<Other>) {
    reject("tensor \"" + name + "\" is " + data.dtype + "; only F32 and F64 can be loaded");
  }
  if (cast == CastTensors::no) {
    reject("tensor \"" + name + "\" is " + data.dtype + ", the model's is " + dtype_name<T> +
           "; load(path, model, {.cast = CastTensors::yes}) converts");
  }
  return decode<T, Other>(data);
}

void TensorReader::check_all_taken() const {
  std::string names;
  for (std::size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i]) names += (names.empty() ? "\"" : ", \"") + file_.tensors[i].first + "\"";
  }
  if (!names.empty()) reject("the model has nothing for these tensors of the file: " + names);
}

template TensorData tensor_of(const std::string&, const Var<float>&);
template TensorData tensor_of(const std::string&, const Var<double>&);
template Var<float> TensorReader::get(const std::string&, const Var<float>&, CastTensors);
template Var<double> TensorReader::get(const std::string&, const Var<double>&, CastTensors);

}  // namespace unroll::detail
