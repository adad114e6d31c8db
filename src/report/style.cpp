#include "report/style.h"

namespace fci {

const char* const palette_css = R"(
:root{--bg:#fffefb;--ink:#1d1d1b;--mu:#66655f;--fa:#b9b7ae;--ru:#e6e4dc;--card:#f7f5ef;
--r0:#8ac9ef;--r1:#56b4e9;--r2:#0072b2;--r3:#00406b;--t1:#1f78b0;--t2:#005a8e;--m:#d55e00;--mt:#b34e00;
--serif:"Iowan Old Style",Charter,"Bitstream Charter",Palatino,P052,"Source Serif 4",Georgia,serif;
--sans:Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
--mono:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){:root{--bg:#15171a;--ink:#e9e7e1;--mu:#a09e97;--fa:#5b5d60;--ru:#2c2f33;
--card:#1c1f23;--r0:#cfeafa;--r1:#8fd0f5;--r2:#3b9be0;--r3:#2a6ca8;--t1:#8fd0f5;--t2:#6bb6ee;--m:#f0843a;--mt:#f59a5c}
}
@media print{:root{--bg:#fff;--ink:#000;--mu:#555;--fa:#999;--ru:#ddd;--card:#f4f4f4;--r0:#8ac9ef;--r1:#56b4e9;
--r2:#0072b2;--r3:#00406b;--t1:#1f78b0;--t2:#005a8e;--m:#d55e00;--mt:#b34e00}}
)";

const char* const marks_css = R"(
text{font:12.5px var(--sans);fill:var(--ink);font-variant-numeric:tabular-nums lining-nums}
svg svg,svg.strip{overflow:visible}
.page{fill:var(--bg)}.tick{font-size:11.5px;fill:var(--mu)}.end{font-size:10px}.head{font-weight:600;font-size:14px}
.mut{fill:var(--mu)}.mid{text-anchor:middle}.right{text-anchor:end}
.grid{stroke:var(--ru)}.axis{stroke:var(--fa)}.chance{stroke:var(--mu);stroke-width:1.25;stroke-dasharray:2.5 2.5}
.paper{fill:none;stroke:var(--ink);stroke-width:1.1;pointer-events:all}.off .paper,.paper.off{stroke:var(--fa)}
.jump{stroke:var(--ink);stroke-dasharray:1 3}
.r0{--c:var(--r0);--t:var(--t1)}.r1{--c:var(--r1);--t:var(--t1)}.r2{--c:var(--r2);--t:var(--t2)}
.r3{--c:var(--r3);--t:var(--t2)}.x{--c:var(--ink);--t:var(--ink)}.m{--c:var(--m);--t:var(--mt)}
.c0{--c:#0072b2;--t:var(--t2)}.c1{--c:var(--m);--t:var(--mt)}.c2{--c:#009e73;--t:#009e73}.c3{--c:#cc79a7;--t:#b8578d}
.c4{--c:var(--r1);--t:var(--t1)}.c5{--c:var(--ink);--t:var(--ink)}
.dot{fill:var(--c);stroke:var(--c);stroke-width:1.7}.dot.one{fill:var(--bg)}
.whisk{stroke:var(--c);stroke-width:1.6}.seed{stroke:var(--c);stroke-width:1.2}
.ln{fill:none;stroke:var(--c);stroke-width:1.9;stroke-linejoin:round}.band{fill:var(--c);opacity:.2}
.d1{stroke-dasharray:7 3}.d2{stroke-dasharray:2 3}.lab{fill:var(--t)}
.k0{fill:var(--r2)}.k1,.k2 .half{fill:var(--r1)}.k2{fill:none;stroke:var(--r1)}.k3{fill:var(--mu)}
.k4{fill:none;stroke:var(--fa)}.k5{fill:none;stroke:var(--fa);stroke-dasharray:1.5 2}.bar rect{pointer-events:all}
)";

const char* const page_css = R"(
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 var(--sans);
font-variant-numeric:tabular-nums lining-nums}
main{max-width:1264px;margin:0 auto;padding:56px 32px 96px}
h1{font:600 40px/1.12 var(--serif);letter-spacing:-.01em;margin:0}h2{font:600 24px/1.2 var(--serif);margin:0 0 6px}
h3{font:600 16px/1.3 var(--sans);margin:36px 0 6px}h3 span{font-weight:400;color:var(--mu);margin-left:6px}
.over{margin:0 0 18px;color:var(--mu);font-size:13px}
.sub{font:italic 20px/1.35 var(--serif);color:var(--mu);margin:8px 0 0}
.lede{font:19px/1.55 var(--serif);max-width:44em;margin:26px 0 0}.lede b{font-weight:600}
section{margin-top:72px}.cap{max-width:44em;color:var(--mu);margin:0 0 18px}
.foot{max-width:62em;color:var(--mu);font-size:13px;margin:16px 0 0}
.score{list-style:none;display:flex;flex-wrap:wrap;gap:6px 28px;margin:26px 0 0;padding:0}
.score li{display:flex;align-items:center;gap:7px}.score b,.keys b{font-weight:600}
.cov{margin:30px 0 8px;font-size:14px}.bar{display:block}
.keys,.legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:3px 22px;margin:9px 0 0;font-size:13px;
color:var(--mu)}
.legend{margin:0 0 14px}.keys b{color:var(--ink)}.keys li,.legend li{display:flex;align-items:center;gap:5px}
.t{color:var(--t)}svg.gl{flex:none;display:block}.gf{fill:var(--ink)}.go{fill:none;stroke:var(--ink);stroke-width:1.5}
code{font-family:var(--mono);font-size:.86em}.mu{color:var(--mu)}sup{font-size:10.5px;line-height:0}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:400}
thead th{font-size:12.5px;color:var(--mu);padding:0 8px 7px;vertical-align:bottom;line-height:1.25}
thead th.t{color:var(--t)}
td,tbody th{padding:3px 8px;vertical-align:middle}.n{text-align:right;white-space:nowrap}
thead th.n{padding-right:36px}
thead th.n.no{padding-right:8px}.nr{color:var(--mu);font-size:12px}
i.tail{display:inline-block;width:28px;padding-left:3px;text-align:left;font-style:normal;font-size:11px;
color:var(--mu)}
.dots{table-layout:fixed}.dots td.s,.dots th.ax{padding:0 18px}svg.strip{display:block}
.ax span{display:inline-block;width:33.33%;text-align:center}.ax span:first-child{text-align:left}
.ax span:last-child{text-align:right}
.dots th code{color:var(--mu);font-size:11px;margin-left:4px}.land .off th,.mv .off th{color:var(--mu)}
.dots tr>th:first-child,.claims .v{padding-left:0}.dots .fam th{font:600 14px/1.3 var(--sans);padding:22px 8px 5px 0;
border-bottom:1px solid var(--ru)}.dots .w{font-size:13px;color:var(--mu)}
.mv tbody tr{border-top:1px solid var(--ru)}.mv td,.mv tbody th,.land td{padding-top:0;padding-bottom:0}
.claims tbody{border-top:1px solid var(--ru)}.claims tbody tr:first-child>*{padding-top:13px}
.claims tbody tr:last-child>*{padding-bottom:13px}
.claims .v{vertical-align:top;font-size:13px;line-height:1.3;padding-left:0}
.claims .v svg{margin:1px 0 5px}.claims .v small{display:block;font-size:12px;color:var(--mu)}
.claims .c{vertical-align:top;font:600 16px/1.3 var(--serif);padding-bottom:13px}
.claims .c p{font:13px/1.42 var(--sans);color:var(--mu);margin:4px 0 0}
.claims .k{font-size:13px;line-height:1.25}
.ovw{max-width:760px;margin:0 0 26px;padding:0 8px}.many{margin:0 0 8px}
.many>summary{cursor:pointer;padding:6px 0;list-style:none}
.panels{display:grid;grid-template-columns:repeat(4,1fr);gap:18px 22px}
figure{margin:0;display:flex;flex-direction:column;justify-content:space-between}
figcaption{font-size:13px;color:var(--mu);min-height:40px}
figcaption b{display:block;color:var(--ink);font-size:14px;font-weight:600}
.panel{display:block;width:100%;height:auto;overflow:visible}
.row{border-top:1px solid var(--ru)}
.row>summary,.hd{display:grid;align-items:center;gap:0 10px;padding:4px 0;font-size:14px;
grid-template-columns:200px minmax(0,1fr) 120px 84px repeat(var(--rates),104px) 190px;min-height:34px;list-style:none}
.row>summary{cursor:pointer}.row>summary:hover{background:var(--card)}summary::-webkit-details-marker{display:none}
.row>summary code:first-child::before,.many>summary::before{content:"\25B8";display:inline-block;width:16px;
color:var(--mu)}
.row[open]>summary code:first-child::before,.many[open]>summary::before{content:"\25BE"}
.hd{font-size:12.5px;color:var(--mu);min-height:24px;padding:0 0 2px}.hd .n{padding-right:28px}
.hd span:first-child{padding-left:16px}
.r{color:var(--mu);overflow-wrap:anywhere}.sp{line-height:0}.vd{font-size:13px;padding-left:14px}
.row code{overflow-wrap:anywhere}.in{padding:4px 0 18px 16px;font-size:13px}.in p{margin:4px 0;max-width:70em}
.cmd{background:var(--card);padding:3px 8px;border-radius:4px;display:inline-block}.in b{font-weight:600}
.sc{overflow-x:auto}.list{width:auto;margin-top:6px;font-size:12.5px}
.list td,.list th{padding:1px 18px 1px 0;text-align:left}
.list .n{text-align:right}.list thead th{padding-bottom:3px;white-space:nowrap}.list thead th.n{padding-right:18px}
.list tbody th{padding-left:0}
.none{font-size:13px;color:var(--mu);border-top:1px solid var(--ru);margin:0;padding:8px 0 0;line-height:1.9}
.words{columns:2;column-gap:56px;margin:16px 0 0}.words dt{font-weight:600;break-after:avoid}
.words dd{margin:0 0 14px;color:var(--mu);max-width:36em;break-inside:avoid}
#tip{position:fixed;z-index:9;max-width:330px;background:var(--ink);color:var(--bg);font-size:12.5px;line-height:1.4;
padding:6px 10px;border-radius:5px;pointer-events:none;white-space:pre-line}
@media (max-width:1140px){main{padding:44px 24px 72px}.panels{grid-template-columns:repeat(2,1fr)}
.dots th code{display:none}
.land col:first-child,.mv col:first-child{width:170px!important}
.land col:nth-child(n+4),.mv col:nth-child(n+4){width:76px!important}
.land col:nth-child(3),.mv col:nth-child(3),.land col:last-child,.mv col:last-child{width:48px!important}
.land td.n,.mv td.n{font-size:13px;padding-left:2px;padding-right:2px}
.land thead th.n,.mv thead th.n{padding:0 30px 7px 0}.land thead th.no,.mv thead th.no{padding-right:2px}
.claims,.claims thead,.claims tbody{display:block}.claims colgroup{display:none}
.claims tr{display:grid;grid-template-columns:142px minmax(0,1fr) 60px repeat(var(--numbers),84px) 52px;
align-items:center}
.claims thead tr{align-items:end}.claims thead th:nth-child(-n+2){display:none}.claims thead th{padding:0 4px 6px}
.claims thead th.n{padding-right:32px}.claims thead th.n.no{padding-right:4px}
.claims tbody{padding:14px 0 12px}.claims tbody tr>*,.claims tbody tr:first-child>*,.claims tbody tr:last-child>*
{padding-top:0;padding-bottom:0}.claims td.n{padding-left:4px;padding-right:4px}
.claims tbody tr .v{grid-column:1/-1;display:flex;gap:8px;align-items:center}.claims .v svg{margin:0}
.claims .v small{display:inline}.claims td[colspan="2"]{grid-column:span 2}.claims td[colspan="3"]{grid-column:span 3}
.claims .k{padding-top:2px;padding-bottom:2px}.claims tbody tr:first-child .c{grid-column:1/-1;padding:4px 0 8px}
.claims .k{padding-left:0}
.row>summary,.hd{grid-template-columns:144px minmax(64px,1fr) 80px 56px repeat(var(--rates),84px) 96px;gap:0 8px;
font-size:13px}
.sp svg{width:80px}.vd{padding-left:4px;line-height:1.2}}
@media (max-width:660px){main{padding:32px 18px 64px}h1{font-size:30px}.sub{font-size:17px}.lede{font-size:17.5px}
section{margin-top:52px}.panels{grid-template-columns:1fr}.words{columns:1}.score{gap:6px 20px}
.dots,.dots tbody{display:block}.dots colgroup{display:none}.dots thead,.dots thead tr{display:block}
.dots thead th{display:none}.dots thead th.ax,.claims thead th.ax:nth-child(n){display:block;padding:0 8px 4px}
.dots tr,.claims tr{display:grid;grid-template-columns:repeat(var(--cols),1fr);align-items:start}
.land tbody tr,.mv tbody tr{padding:7px 0;border-top:1px solid var(--ru)}
.dots tbody th,.claims td.k,.dots .w{grid-column:1/-1}.dots tbody tr>th,.claims tbody tr>td.k{padding:4px 0 2px}
.dots tbody tr td.s{grid-column:1/-1;padding:0 8px}
.dots td.n,.claims tbody tr>td.n{text-align:left;padding:3px 0 0;font-size:13.5px;white-space:normal}
.dots td.n::before{content:attr(data-l);display:block;font-size:11px;color:var(--mu);line-height:1.2}
.dots td.n:empty,.dots .w:empty{display:none}.dots td[colspan="2"]{grid-column:span 2}
.dots td[colspan="3"]{grid-column:span 3}.dots tbody tr .w{padding:4px 0 0}
.dots .fam th{grid-column:1/-1;padding:22px 0 6px;border-bottom:0}.land tbody tr.fam{border-top:0;padding:0}
i.tail{width:auto}.hd{display:none}.row>summary{grid-template-columns:1fr 1fr 1fr;padding:8px 0;gap:2px 10px}
.row>summary code:first-child{grid-column:1/-1}.r{grid-column:1/3}.sp{grid-column:3;justify-self:end}
.row>summary .n{text-align:left;white-space:normal}
.row>summary .n::before{content:attr(data-l) " ";font-size:11px;color:var(--mu)}
.vd{grid-column:1/-1;padding:0;color:var(--mu)}.in{padding-left:0}.cmd{overflow-wrap:anywhere}}
@media print{body{font-size:10pt}main{max-width:none;padding:0}section{margin-top:30px}
.claims tbody,figure,.row,tr,.ovw,p{break-inside:avoid}h2,h3,.cap,.legend,.hd,.fam,thead{break-after:avoid}
svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}#tip{display:none}@page{margin:12mm}}
)";

const char* const hover_js = R"(
(function(){var tip=document.getElementById('tip');
document.addEventListener('pointerover',function(e){var m=e.target.closest('[data-t]');tip.hidden=!m;if(!m)return;
tip.textContent=m.getAttribute('data-t');var r=m.getBoundingClientRect(),w=tip.offsetWidth,h=tip.offsetHeight;
tip.style.left=Math.max(8,Math.min(innerWidth-w-8,r.left+r.width/2-w/2))+'px';
tip.style.top=(r.top>h+12?r.top-h-8:r.bottom+8)+'px'});
addEventListener('scroll',function(){tip.hidden=true},{passive:true})})();
)";

} // namespace fci
