#include "cuda/gemm.cuh"

#if !defined(FCI_EMULATOR)
#include <cublas_v2.h>
#include <dlfcn.h>
#endif

namespace fci::cuda {

#if defined(FCI_EMULATOR)

void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
    emulator::expect_device_pointers("device_gemm", a, b, c);
    emulator::enqueue([=] {
        const emulator::OpenDeviceMemory open;
        fci::gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    });
}

void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c) {
    emulator::expect_device_pointers("device_gemm_batched", a, b, c);
    emulator::enqueue([=] {
        const emulator::OpenDeviceMemory open;
        for (int i = 0; i < batch; ++i)
            fci::gemm(ta, tb, m, n, k, alpha, a + i * step_a, lda, b + i * step_b, ldb, beta, c + i * step_c, ldc);
    });
}

#else

namespace {

// cuBLAS is loaded when the first GPU run starts: it takes half a gigabyte that a CPU run does not need, and fci must
// start where cuBLAS is not installed.
struct Cublas {
    decltype(&cublasCreate_v2) create;
    decltype(&cublasDestroy_v2) destroy;
    decltype(&cublasSetStream_v2) set_stream;
    decltype(&cublasSetWorkspace_v2) set_workspace;
    decltype(&cublasSetMathMode) set_math_mode;
    decltype(&cublasSgemm_v2) sgemm;
    decltype(&cublasSgemmStridedBatched) sgemm_batched;

    Cublas() {
        const std::string name = "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);
        void* library = dlopen(name.c_str(), RTLD_NOW);
        if (!library) library = dlopen((FCI_CUDA_HOME "/lib64/" + name).c_str(), RTLD_NOW);
        if (!library)
            fail(Exit::usage, "--device cuda: {} cannot be opened ({}); it is part of the CUDA Toolkit", name,
                 dlerror());
        find(library, "cublasCreate_v2", create), find(library, "cublasDestroy_v2", destroy);
        find(library, "cublasSetStream_v2", set_stream), find(library, "cublasSetWorkspace_v2", set_workspace);
        find(library, "cublasSetMathMode", set_math_mode), find(library, "cublasSgemm_v2", sgemm);
        find(library, "cublasSgemmStridedBatched", sgemm_batched);
    }
    template <class F>
    static void find(void* library, const char* name, F& f) {
        f = reinterpret_cast<F>(dlsym(library, name));
        if (!f) fail(Exit::usage, "--device cuda: this cuBLAS has no {}", name);
    }
};

const Cublas& cublas() {
    static const Cublas library;
    return library;
}

// A thread's handle, on its stream, with its workspace.
struct Handle {
    cublasHandle_t handle = nullptr;
    void* workspace = nullptr;

    Handle() {
        const std::lock_guard alone(whole_device());
        constexpr size_t bytes = size_t{32} << 20; // as NVIDIA recommends for Hopper
        started(cublas().create(&handle));
        workspace = allocate(Device::cuda, bytes, 256);
        started(cublas().set_stream(handle, stream())); // discards the workspace, so it comes first
        started(cublas().set_workspace(handle, workspace, bytes));
        started(cublas().set_math_mode(handle, precision() == Precision::tf32 ? CUBLAS_TF32_TENSOR_OP_MATH
                                                                              : CUBLAS_DEFAULT_MATH));
    }
    static void started(cublasStatus_t status) {
        if (status != CUBLAS_STATUS_SUCCESS)
            fail(Exit::internal, "cuBLAS cannot start on this GPU: status {}", static_cast<int>(status));
    }
    ~Handle() {
        const std::lock_guard alone(whole_device());
        cublas().destroy(handle);
        release(Device::cuda, workspace);
    }
};

cublasHandle_t blas() {
    static thread_local Handle h;
    return h.handle;
}

void expect_blas(cublasStatus_t status, int m, int n, int k) {
    if (status != CUBLAS_STATUS_SUCCESS)
        fail(Exit::internal, "cuBLAS: a product ({},{}) x ({},{}) failed with status {}", m, k, k, n,
             static_cast<int>(status));
}

cublasOperation_t operation(Transpose t) { return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; }

} // namespace

// cuBLAS is column-major: it sees a row-major C as C^T = op(B)^T op(A)^T.
void device_gemm(Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a, int lda, const float* b,
                 int ldb, float beta, float* c, int ldc) {
    if (m == 0 || n == 0) return;
    expect_blas(cublas().sgemm(blas(), operation(tb), operation(ta), n, m, k, &alpha, b, ldb, a, lda, &beta, c, ldc), m,
                n, k);
}

void device_gemm_batched(int batch, Transpose ta, Transpose tb, int m, int n, int k, float alpha, const float* a,
                         int lda, int64_t step_a, const float* b, int ldb, int64_t step_b, float beta, float* c,
                         int ldc, int64_t step_c) {
    if (m == 0 || n == 0 || batch == 0) return;
    expect_blas(cublas().sgemm_batched(blas(), operation(tb), operation(ta), n, m, k, &alpha, b, ldb, step_b, a, lda,
                                       step_a, &beta, c, ldc, step_c, batch),
                m, n, k);
}

#endif

} // namespace fci::cuda
