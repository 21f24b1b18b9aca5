// The one header that includes xtensor-blas: xt::linalg::dot and its kin.
//
//   #include "unroll/autograd/xtensor_blas_headers.hpp"
//   unroll::Dense<double> z = xt::linalg::dot(x, xt::transpose(W));
//
// Never in one translation unit with <cblas.h>: both declare the cblas functions, differently.
// Hence only in .cpp files, never in a public header.
#pragma once

#include "unroll/autograd/xtensor_headers.hpp"

#include <xtensor-blas/xlinalg.hpp>
