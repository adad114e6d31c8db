#include "tasks/hotpotqa.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/check.h"
#include "core/files.h"
#include "core/json.h"

namespace fci {

void HotpotExample::settle() {
    std::multimap<std::string_view, const Paragraph*> titled;
    std::map<std::string_view, std::vector<uint32_t>>
        named; // for a repeated title: sentences by index, the first of each
    for (const Paragraph& p : paragraphs) titled.emplace(p.title, &p);
    first_of_name.clear(), supporting.clear(), found_facts_ = 0;
    if (std::adjacent_find(titled.begin(), titled.end(), [](auto& a, auto& b) { return a.first == b.first; }) !=
        titled.end()) {
        for (const Paragraph& p : paragraphs) {
            std::vector<uint32_t>& first = named[p.title];
            for (uint32_t s = p.begin; s < p.end; ++s) {
                if (s - p.begin == first.size()) first.push_back(s);
                first_of_name.push_back(first[s - p.begin]);
            }
        }
    }
    std::set<std::pair<std::string_view, int64_t>> distinct;
    for (const Fact& f : facts) {
        if (!distinct.emplace(f.title, f.index).second) continue;
        const size_t before = supporting.size();
        for (auto [p, last] = titled.equal_range(f.title); p != last; ++p)
            if (f.index >= 0 && f.index < p->second->end - p->second->begin)
                supporting.push_back(p->second->begin + static_cast<uint32_t>(f.index));
        found_facts_ += supporting.size() > before;
    }
    std::sort(supporting.begin(), supporting.end());
    distinct_facts_ = static_cast<int>(distinct.size());

    const auto each_text = [this](auto&& use) {
        for (std::string_view* t : {&id, &question, &answer, &type, &level}) use(*t);
        for (Paragraph& p : paragraphs) use(p.title);
        for (std::string_view& s : sentences) use(s);
        for (Fact& f : facts) use(f.title);
    };
    size_t size = 0;
    each_text([&](std::string_view& t) { size += t.size(); });
    std::vector<char> block(size);
    char* to = block.data();
    each_text([&](std::string_view& t) {
        if (t.empty()) return t = {}, void();
        std::memcpy(to, t.data(), t.size());
        t = {to, t.size()};
        to += t.size();
    });
    text_ = std::move(block); // moved, never copied: the views stay valid
    paragraphs.shrink_to_fit(), sentences.shrink_to_fit(), facts.shrink_to_fit(), supporting.shrink_to_fit();
    first_of_name.shrink_to_fit();
}

std::string hotpot_json(std::span<const HotpotExample> examples) {
    const auto text = [](std::string_view s) { return Json::raw(json_quote(s, true)); }; // as Python's json.dumps
    Json all = Json::array();
    for (const HotpotExample& x : examples) {
        Json facts = Json::array(), context = Json::array(), j = Json::object();
        for (const HotpotExample::Fact& f : x.facts) facts.push(Json::array().push(text(f.title)).push(f.index));
        for (const HotpotExample::Paragraph& p : x.paragraphs) {
            Json sentences = Json::array();
            for (uint32_t s = p.begin; s < p.end; ++s) sentences.push(text(x.sentences[s]));
            context.push(Json::array().push(text(p.title)).push(sentences));
        }
        j.add("_id", text(x.id)).add("question", text(x.question)).add("answer", text(x.answer));
        j.add("type", text(x.type)).add("level", text(x.level)).add("supporting_facts", facts);
        all.push(j.add("context", context));
    }
    return all.text();
}

void save_hotpot(const std::string& path, std::span<const HotpotExample> examples) {
    write_file_atomically(path, hotpot_json(examples));
}

} // namespace fci
