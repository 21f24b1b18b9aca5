// Is this built with a sanitizer that watches memory or threads? `UNROLL_SANITIZED` is defined then.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNROLL_SANITIZED 1
#endif
#endif
