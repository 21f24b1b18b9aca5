#include "unroll/autograd/kernels/read_ahead.hpp"

#include <algorithm>

#include "unroll/autograd/kernels.hpp"

namespace unroll::detail {
namespace {
// Few at first, since a loop may end anywhere; later as many as stay in a cache of the second level.
constexpr Size first_rows = 6, most_rows = 48, most_bytes = Size{256} << 10;
}  // namespace

template <class T>
const T* ReadAhead::new_row(const Block& x, Block& w) {
  const Size out = w.sizes()[0], in = w.sizes()[1];
  if (!w.packable) return nullptr;  // small: its products are not made of panels, and take no time
  Entry* e = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.w == &w && entry.array.get() == x.base;
  });
  if (e == entries_.end()) {
    e = &entries_[oldest_++ % entries_.size()];
    *e = {};
    e->array = Ref::share(x.base);
    e->w = &w;
  }
  const T *at = x.data<T>(), *end = x.base->data<T>() + x.base->size();
  const bool in_order = e->expected == at;
  e->expected = at + in;
  if (!in_order) {
    e->used = e->count = 0;
    e->rows = Ref();
    return nullptr;
  }
  if (e->used == e->count) {
    const Size most = std::clamp<Size>(most_bytes / (out * Size{sizeof(T)}), 1, most_rows);
    const Size count = std::min({(end - at) / in, most, std::max(2 * e->count, first_rows)});
    e->used = e->count = 0;
    e->rows = Ref();
    if (count < 2) return nullptr;
    const RightMatrix<T> matrix(w, true, 1);
    if (!matrix.packed()) return nullptr;
    e->rows = new_block<T>(Shape{count, out});
    matrix.one_by_one(count, at, in, e->rows->template data<T>(), out);
    e->count = count;
  }
  return e->rows->template data<T>() + e->used++ * out;
}

void ReadAhead::clear() {
  for (Entry& e : entries_) {
    if (e.w) e = {};
  }
}

template const float* ReadAhead::new_row<float>(const Block&, Block&);
template const double* ReadAhead::new_row<double>(const Block&, Block&);

}  // namespace unroll::detail
