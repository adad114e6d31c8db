// What the mock prints. FCI_MOCK_GRAPHS=1, or =FILE: tab-separated lines on standard error, or appended to the file:
// each captured graph when it is created, the totals when the program ends. A violation makes the exit code 9.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/mock/state.h"

namespace mock {
namespace {

std::FILE* output() {
    static std::FILE* const file = []() -> std::FILE* {
        const char* asked = std::getenv("FCI_MOCK_GRAPHS");
        if (!asked || !*asked || std::string_view(asked) == "0") return nullptr;
        if (std::string_view(asked) == "1") return stderr;
        std::FILE* opened = std::fopen(asked, "a");
        if (!opened) fmt::print(stderr, "mock of CUDA: {} cannot be written\n", asked);
        return opened;
    }();
    return file;
}

std::string extent(dim3 d) {
    std::string s = std::to_string(d.x);
    if (d.y > 1 || d.z > 1) s += fmt::format("x{}", d.y);
    if (d.z > 1) s += fmt::format("x{}", d.z);
    return s;
}

std::string line_of(const Graph& g, const Node& node) {
    const std::string begin = fmt::format("node\t{}\t{}\t{}\t", g.number, node.kind, node.what);
    if (!node.launch) return begin + "\t\t\t\t\t\t\t";
    const Launch& l = *node.launch;
    const int blocks = resident_blocks(l);
    return begin + fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{:.0f}\t{:.2f}", extent(l.grid), extent(l.block),
                               l.kernel->registers, l.kernel->fixed_shared, l.dynamic_shared, blocks,
                               100. * blocks * static_cast<double>((l.threads() + 31) / 32) / 64,
                               static_cast<double>(l.blocks()) / (multiprocessors * blocks));
}

} // namespace

void print_line(const std::string& text) {
    if (output()) fmt::print(output(), "{}\n", text);
}

void print_graph(const Graph& g) {
    if (!output()) return;
    print_line(fmt::format("graph\t{}\tthread\t{}\tnodes\t{}", g.number, g.thread, g.nodes.size()));
    print_line("#node\tgraph\tkind\twhat\tgrid\tblock\tregisters\tstatic shared\tdynamic shared\tblocks an SM\t"
               "occupancy %\twaves");
    for (const Node& node : g.nodes) print_line(line_of(g, node));
}

void report_at_exit() {
    {
        const Call call("the end of the program");
        const State& s = state();
        for (const Graph* g : s.graphs) call.refuse(cudaSuccess, "graph {} was never destroyed", g->number);
        for (const Stream* stream : s.streams)
            call.refuse(cudaSuccess, "the stream of thread {} was never destroyed", stream->thread);
        if (!s.handles.empty()) call.refuse(cudaSuccess, "{} handles of cuBLAS were never destroyed", s.handles.size());
        const Totals& t = s.totals;
        for (const auto& [name, value] : {std::pair<const char*, long>{"threads", t.threads},
                                          {"graphs", t.graphs},
                                          {"replays", t.replays},
                                          {"launches", t.launches},
                                          {"synchronisations", t.synchronisations},
                                          {"questions", t.questions},
                                          {"allocations", t.allocations},
                                          {"most MiB", static_cast<long>(t.most_bytes >> 20)},
                                          {"copies in", t.in.count},
                                          {"bytes in", t.in.bytes},
                                          {"copies out", t.out.count},
                                          {"bytes out", t.out.bytes},
                                          {"copies within", t.within.count},
                                          {"bytes within", t.within.bytes},
                                          {"violations", t.violations}})
            print_line(fmt::format("total\t{}\t{}", name, value));
    }
    std::fflush(nullptr);
    if (state().totals.violations) ::_exit(9);
}

} // namespace mock
