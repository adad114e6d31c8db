# make            build ./fci                    make test    build and run the tests
# make deps       install what is missing        make asan    the tests under AddressSanitizer and UBSan
# make bench      ./fci bench                    make tsan    the tests under ThreadSanitizer
# make fmt        clang-format everything        make gpu-test   tests of CUDA code on this machine's GPU
# make clean      remove what was built          make ladder     time cuda/ladder on this machine's GPU
# make install    PREFIX=/usr/local DESTDIR=: program, man page, completions, rows; make uninstall
# make examples   tests/examples: the whole algorithm in one file; the engine in use
# make campaign   every injected fault, a thousand kills, 500 signals (an hour)
# make fuzz       every parser against libFuzzer, SECONDS=60 each (PARSERS='config rows' for some); needs clang
# Variables: NVCC= (no CUDA), CUDA_HOME, CUDA_ARCH, CUDA_PTX,
#            ARCH (native; x86-64-v3 for a binary that travels), CXX, WERROR=1, V=1 (show commands)
CXX      ?= g++
ARCH     ?= native
BUILD    ?= build/release
OPT      ?= -O3
WERROR   ?=
SANITIZE ?=
EMULATED_OPT ?= -O1

# All processors, unless make is told how many (make -j1).
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
endif

# -ffp-contract is explicit: a*b+c may become one fused operation, so bits depend on the compiler and ARCH.
# -Wno-stringop-overflow: g++ 12 at -O3 raises a false alarm inside fmt::join.
# No -ffast-math: sums keep their order except where a loop says "omp simd reduction".
CXXFLAGS += -std=c++20 -g1 $(OPT) -march=$(ARCH) -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp-simd \
            -Wall -Wextra -Wno-stringop-overflow $(if $(WERROR),-Werror) $(SANITIZE) -pthread
CPPFLAGS += -Isrc -I. -MMD -MP $(patsubst %,-isystem %,$(wildcard /usr/include/openblas))
LDLIBS   += -lopenblas -lfmt -lsimdjson -pthread
ifneq ($(shell uname -m),x86_64)
ARCH_WIDE :=
else
ARCH_WIDE := -mprefer-vector-width=512
endif
ifeq ($(shell uname -s),Darwin)
BREW     := $(shell brew --prefix)
CPPFLAGS += -isystem $(BREW)/include -isystem $(BREW)/opt/openblas/include
LDFLAGS  += -L$(BREW)/lib -L$(BREW)/opt/openblas/lib
endif

# CUDA: with nvcc (on the PATH, in CUDA_HOME or /usr/local/cuda) fci gets its GPU half; without, --device cuda says so.
# Paths may have spaces: they are quoted, and never used as make's words.
CUDA_HOME ?= $(shell for n in /usr/local/cuda/bin/nvcc "$$(command -v nvcc)"; do [ ! -x "$$n" ] || { echo "$${n%/bin/nvcc}"; break; }; done)
CUDA_HOME := $(CUDA_HOME)
NVCC      ?= $(shell [ ! -x "$(CUDA_HOME)/bin/nvcc" ] || echo "$(CUDA_HOME)/bin/nvcc")
NVCC      := $(NVCC)
ifneq ($(NVCC),)
ifeq ($(shell "$(NVCC)" -std=c++20 --dryrun -x cu -c /dev/null -o /dev/null >/dev/null 2>&1 && echo yes),)
$(info CUDA is left out: $(NVCC) compiles no C++20, which the CUDA Toolkit does from 12.0 on)
override NVCC :=
endif
endif
# The architectures of the list that this nvcc knows. CUDA_PTX: PTX of the first, for every later GPU, and of the
# newest.
KNOWN_ARCH := $(if $(NVCC),$(patsubst compute_%,%,$(shell "$(NVCC)" --list-gpu-arch 2>/dev/null)))
CUDA_ARCH ?= $(or $(filter $(KNOWN_ARCH),80 90 120),80 90 120)
CUDA_PTX  ?= $(sort $(firstword $(CUDA_ARCH)) $(lastword $(CUDA_ARCH)))
# Not compressed, so that kernels load without unpacking, and the mock (tests/mock) can read their properties.
NVCCFLAGS += -std=c++20 '-DFCI_CUDA_HOME="$(CUDA_HOME)"' -O3 --extended-lambda --expt-relaxed-constexpr --no-compress \
             -Xcompiler -Wall,-Wextra \
             $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
             $(foreach a,$(CUDA_PTX),-gencode arch=compute_$(a),code=compute_$(a)) \
             $(if $(WERROR),-Werror all-warnings)
CUDA_LIBS := $(if $(NVCC),-L"$(CUDA_HOME)/lib64" -lcudart_static -lrt -ldl)

# The commit that is built, for the provenance of every result.
GIT_HASH  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$(shell test -z "$$(git status --porcelain -uno 2>/dev/null)" || echo -dirty)

ENGINE := $(wildcard src/*/*.cpp tasks/*.cpp)
MAIN   := src/main.cpp
TESTS  := $(wildcard tests/*.cpp tests/fuzz/*.cpp tests/faults/*.cpp tests/emulator/*.cpp) cuda/ladder/ladder.cpp
KERNELS := $(wildcard cuda/*.cu cuda/*/*.cu tests/emulator/*.cu)
OBJ     = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
TWINS    = $(if $(NVCC),$(patsubst %.cu,$(BUILD)/%.cu.o,$(wildcard cuda/*.cu cuda/ops/*.cu)))
EMULATED = $(patsubst %.cu,$(BUILD)/emulated/%.o,$(KERNELS))
CATCH  := $(shell echo '\#include <catch2/catch.hpp>' | $(CXX) -E -x c++ - >/dev/null 2>&1 || echo -lCatch2Main -lCatch2)

say     = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)

.PHONY: all deps test examples campaign fuzz gpu-test asan tsan bench fmt clean install uninstall FORCE
all: fci

fci: $(BUILD)/fci
	@test $(BUILD) != build/release || ln -sf $< $@

$(BUILD)/fci: $(call OBJ,$(ENGINE) $(MAIN)) $(TWINS)
	$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) $^ $(LDLIBS) $(CUDA_LIBS) -o $@

$(BUILD)/tests/run: $(call OBJ,$(ENGINE) $(TESTS)) $(EMULATED)
	$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) $^ $(CATCH) $(LDLIBS) -o $@

# Data and BM25's choices must be the same on every machine: no fused operations there.
$(BUILD)/tasks/%.o $(BUILD)/src/routing/bm25.o: CXXFLAGS += -ffp-contract=off
$(BUILD)/src/ops/%.o $(BUILD)/src/core/%.o: CXXFLAGS += $(ARCH_WIDE)
# Catch2 v2 is one large header: test code is compiled for checking, not for speed. Instrumented, it compiles at -O0 in
# half the time that -O1 takes.
$(BUILD)/tests/%.o: CXXFLAGS += $(if $(SANITIZE),-O0,-O1)

# The emulator (tests/emulator): every CUDA kernel compiled by g++, for the tests. ThreadSanitizer must not instrument
# the emulator itself, which runs the threads. -g3: gdb knows threadIdx.
$(BUILD)/emulated/%.o: %.cu
	@mkdir -p $(@D)
	$(call say,c++,$<)$(CXX) $(CPPFLAGS) -DFCI_EMULATOR $(CXXFLAGS) $(EMULATED_OPT) -g3 -Wno-unknown-pragmas \
	    -x c++ -c $< -o $@
$(BUILD)/tests/emulator/%.o: CXXFLAGS += -O2 -g
ifneq ($(findstring thread,$(SANITIZE)),)
$(BUILD)/tests/emulator/%.o: override SANITIZE :=
$(BUILD)/tests/emulator/%.o: CPPFLAGS += -DFCI_EMULATOR_TSAN
endif

$(BUILD)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,nvcc,$<)"$(NVCC)" $(CPPFLAGS) $(NVCCFLAGS) -c $< -o $@

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	$(call say,c++,$<)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c $< -o $@

# The provenance is a separate file, rewritten only when it changes.
$(BUILD)/build_info.h: FORCE
	@mkdir -p $(@D)
	@printf '#define FCI_VERSION "%s"\n#define FCI_GIT "%s"\n#define FCI_FLAGS "%s"\n' "$$(cat VERSION)" '$(GIT_HASH)' '$(strip $(OPT) -march=$(ARCH) $(SANITIZE))' > $@.new
	@cmp -s $@ $@.new && rm $@.new || mv $@.new $@
$(BUILD)/src/train/provenance.o: $(BUILD)/build_info.h
$(BUILD)/src/train/provenance.o: CPPFLAGS += -I$(BUILD)

# fci with a mock instead of the CUDA runtime (tests/mock): checks the host's use of a GPU, without one.
MOCK := $(wildcard tests/mock/*.cpp)
MOCKED = $(if $(NVCC),$(BUILD)/mock/fci $(BUILD)/mock/controls)
$(BUILD)/tests/mock/%.o: CPPFLAGS += $(if $(NVCC),-isystem "$(CUDA_HOME)/include")
$(BUILD)/tests/mock/%.cu.o: CUDA_ARCH := 90
$(BUILD)/mock/fci: $(call OBJ,$(ENGINE) $(MAIN)) $(TWINS)
$(BUILD)/mock/controls: $(BUILD)/tests/mock/controls/controls.cu.o
$(BUILD)/mock/%: $(call OBJ,$(MOCK))
	@mkdir -p $(@D)
	$(if $(NVCC),,$(error the mock needs the objects that nvcc makes))$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) -rdynamic -Wl,--wrap=dlopen \
	    $^ $(LDLIBS) -ldl -o $@

examples: $(patsubst tests/examples/%.cpp,$(BUILD)/examples/%,$(wildcard tests/examples/*.cpp))
$(BUILD)/tests/examples/%.o: CXXFLAGS += -O3
.SECONDARY: $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/examples/*.cpp))
$(BUILD)/examples/%: $(BUILD)/tests/examples/%.o $(call OBJ,$(ENGINE)) $(TWINS)
	@mkdir -p $(@D)
	$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) $^ $(LDLIBS) $(CUDA_LIBS) -o $@

deps:
	tools/deps.sh

# The tests also start the program of the same build.
test: fci $(BUILD)/tests/run $(BUILD)/tests/shim.so $(MOCKED)
	FCI_BIN=$(BUILD)/fci FCI_SHIM=$(BUILD)/tests/shim.so $(if $(MOCKED),FCI_MOCK=$(BUILD)/mock) tools/run_tests.sh $(BUILD)/tests/run $(ONLY)

$(BUILD)/tests/shim.so: tests/faults/shim/shim.cpp
	@mkdir -p $(@D)
	$(call say,c++,$<)$(CXX) -std=c++20 -O1 -Wall -Wextra -fPIC -shared $< -o $@ -ldl
campaign:
	$(MAKE) test ONLY='[campaign]'

# Parsers compiled by clang, for libFuzzer; the rest as built by `make fci`, since no input reaches it.
FUZZED := $(filter-out src/train/gpu%,$(wildcard src/core/*.cpp src/cli/*.cpp src/study/*.cpp src/train/*.cpp \
            src/pretrained/*.cpp tasks/*.cpp tests/fuzz/parsers*.cpp tests/fuzz/libfuzzer/*.cpp))
build/fuzz/fuzz: $(patsubst %.cpp,build/fuzz/%.o,$(FUZZED)) \
                 $(patsubst %.cpp,build/release/%.o,$(filter-out $(FUZZED),$(ENGINE)))
	$(call say,link,$@)$(CXX) $(CXXFLAGS) -fsanitize=fuzzer $(LDFLAGS) $^ $(LDLIBS) -o $@
fuzz:
	+tools/fuzz.sh $(or $(SECONDS),60) $(PARSERS)

# The tests of CUDA code with nvcc's kernels instead of the emulator, on this machine's GPU: see tools/gpu_check.sh.
ON_GPU  := $(wildcard tests/main.cpp tests/op_*.cpp tests/test_ops.cpp tests/test_twin*.cpp tests/test_gpu*.cpp \
             tests/test_ladder.cpp) tests/emulator/tensor_core.cpp cuda/ladder/ladder.cpp
LADDERS  = $(if $(NVCC),$(patsubst %.cu,$(BUILD)/%.cu.o,$(wildcard cuda/ladder/*.cu)))
$(BUILD)/tests/run_gpu: $(call OBJ,$(ENGINE) $(ON_GPU)) $(TWINS) $(LADDERS)
	$(if $(NVCC),,$(error the tests on a GPU need nvcc))$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) $^ $(CATCH) $(LDLIBS) $(CUDA_LIBS) -o $@
gpu-test: $(BUILD)/tests/run_gpu
	tools/run_tests.sh $< '[twin],[gpu],[gpu-curves]'

# Without nvcc: code that it compiles is not instrumented. [recorded]: the tables of all recorded results, which take
# long.
asan:
	$(MAKE) test BUILD=build/asan NVCC= OPT='-O1 -fno-omit-frame-pointer' SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined' ONLY='$(or $(ONLY),~[recorded]~[.])'

THREADED = $(wildcard tests/main.cpp tests/op_*.cpp tests/emulator/*.cpp cuda/ladder/ladder.cpp) \
             $(shell grep -lE '\[(threads|emulator|twin)\]' tests/test_*.cpp)
tsan:
	FCI_TWIN_DRAWS=1 FCI_TWIN_ROWS=2 $(MAKE) test BUILD=build/tsan NVCC= OPT='-O1' SANITIZE=-fsanitize=thread TESTS='$(THREADED)' ONLY='[threads],[emulator],[twin]'

bench: fci
	./fci bench

# Where find_runs_folder() looks for the rows. uninstall removes only what install put there.
PREFIX ?= /usr/local
INSTALLED := bin/fci share/man/man1/fci.1 share/bash-completion/completions/fci share/zsh/site-functions/_fci \
             share/fish/vendor_completions.d/fci.fish
ROWS := $(wildcard runs/*.toml runs/own/*.toml runs/results/*.jsonl runs/results/*.tsv)
install: fci
	@for f in $(INSTALLED) $(ROWS:%=share/fci/%); do mkdir -p "$(DESTDIR)$(PREFIX)/$${f%/*}" || exit; done
	install -m 755 $(BUILD)/fci "$(DESTDIR)$(PREFIX)/bin/fci"
	$(BUILD)/fci help --man >"$(DESTDIR)$(PREFIX)/share/man/man1/fci.1"
	$(BUILD)/fci completion bash >"$(DESTDIR)$(PREFIX)/share/bash-completion/completions/fci"
	$(BUILD)/fci completion zsh >"$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_fci"
	$(BUILD)/fci completion fish >"$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/fci.fish"
	@for f in $(ROWS); do install -m 644 "$$f" "$(DESTDIR)$(PREFIX)/share/fci/$$f" || exit; done
uninstall:
	@for f in $(INSTALLED) $(ROWS:%=share/fci/%); do rm -f "$(DESTDIR)$(PREFIX)/$$f"; done
	@for d in runs/results runs/own runs ''; do rmdir "$(DESTDIR)$(PREFIX)/share/fci/$$d" 2>/dev/null || true; done

fmt:
	git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i

clean:
	rm -rf build fci

# Kernels from the naive one to the shipped one, measured on this machine's GPU.
$(BUILD)/ladder: $(call OBJ,$(ENGINE) $(wildcard cuda/ladder/*.cpp)) $(TWINS) $(LADDERS)
	$(call say,link,$@)$(CXX) $(CXXFLAGS) $(LDFLAGS) $^ $(LDLIBS) $(CUDA_LIBS) -o $@
ladder: $(BUILD)/ladder
	$<
.PHONY: ladder

-include $(shell find build -name '*.d' 2>/dev/null)
