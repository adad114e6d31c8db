// cuBLAS, as far as fci calls it: a product becomes a graph node, or is ignored. The program opens the library by name
// with dlopen; the linker's --wrap=dlopen redirects that to this file, and the "library" is the program itself.
#include <cublas_v2.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "tests/mock/state.h"

using namespace mock;

namespace {

struct Handle {
    Stream* stream = nullptr;
    void* workspace = nullptr;
};
Handle* handle_of(cublasHandle_t h) { return reinterpret_cast<Handle*>(h); }

// Checks that a column-major matrix, rows x columns with `step` floats between columns, is within one allocation.
cudaError_t expect_matrix(const Call& call, const char* which, const float* p, int64_t rows, int64_t columns, int step,
                          int64_t next, int count) {
    if (step < std::max<int64_t>(1, rows))
        return call.refuse(cudaErrorInvalidValue, "{}: step {} < {} rows", which, step, rows);
    const int64_t floats = rows && columns ? (columns - 1) * step + rows + (count - 1) * next : 0;
    if (floats && state().around(p, floats * sizeof(float)) == state().memory.end())
        return call.refuse(cudaErrorInvalidValue, "{}: its {} x {} floats are not all in one allocation", which, rows,
                           columns);
    return cudaSuccess;
}

cublasStatus_t product(const char* name, cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                       int k, const float* a, int lda, int64_t next_a, const float* b, int ldb, int64_t next_b,
                       const float* beta, float* c, int ldc, int64_t next_c, int count) {
    const Call call(name);
    const Handle& handle = *handle_of(h);
    const bool a_as_is = ta == CUBLAS_OP_N, b_as_is = tb == CUBLAS_OP_N;
    for (const cudaError_t error : {call.may_use(handle.stream),
                                    expect_matrix(call, "A", a, a_as_is ? m : k, a_as_is ? k : m, lda, next_a, count),
                                    expect_matrix(call, "B", b, b_as_is ? k : n, b_as_is ? n : k, ldb, next_b, count),
                                    expect_matrix(call, "C", c, m, n, ldc, next_c, count)})
        if (error != cudaSuccess) return CUBLAS_STATUS_INVALID_VALUE;
    if (capturing() && !handle.workspace) {
        call.refuse(cudaErrorStreamCaptureUnsupported, "in a capture, without a workspace of its own");
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    const std::string what = fmt::format("{}({},{}) x ({},{}){}", count > 1 ? fmt::format("{} x ", count) : "", n, k, k,
                                         m, *beta != 0 ? ", added" : "");
    call.put(handle.stream, {"product", what, {}, {}}, {a, b, c, handle.workspace});
    return CUBLAS_STATUS_SUCCESS;
}

} // namespace

extern "C" {

void* __real_dlopen(const char* name, int flags);
void* __wrap_dlopen(const char* name, int flags) {
    return __real_dlopen(name && std::strstr(name, "libcublas.so") ? nullptr : name, flags);
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* h) {
    const Call call("cublasCreate");
    if (call.outside_all_captures() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    auto* made = new Handle;
    state().handles.insert(made);
    return *h = reinterpret_cast<cublasHandle_t>(made), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t h) {
    const Call call("cublasDestroy");
    if (call.outside_all_captures() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    state().handles.erase(handle_of(h));
    delete handle_of(h);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t s) {
    *handle_of(h) = {reinterpret_cast<Stream*>(s), nullptr}; // discards the workspace
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void* p, size_t bytes) {
    const Call call("cublasSetWorkspace");
    if (state().around(p, bytes) == state().memory.end()) {
        call.refuse(cudaErrorInvalidValue, "{} bytes that are not all in one allocation", bytes);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    return handle_of(h)->workspace = p, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasSgemm_v2(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                              const float*, const float* a, int lda, const float* b, int ldb, const float* beta,
                              float* c, int ldc) {
    return product("cublasSgemm", h, ta, tb, m, n, k, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                                         int k, const float*, const float* a, int lda, long long next_a, const float* b,
                                         int ldb, long long next_b, const float* beta, float* c, int ldc,
                                         long long next_c, int count) {
    return product("cublasSgemmStridedBatched", h, ta, tb, m, n, k, a, lda, next_a, b, ldb, next_b, beta, c, ldc,
                   next_c, count);
}

} // extern "C"
