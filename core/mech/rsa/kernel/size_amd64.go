//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

//go:generate go -C gen run . -out ../zkernel_amd64.s -stubs ../zkernel_amd64.go -pkg kernel

// Available tells whether this processor has what the kernel needs. Built with the tag purego it has not.
func Available() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512IFMA
}

// sizes are the prime lengths that the kernel does.
var sizes = []size{
	{bits: 1024, pair: form{20, 2, ammPair20}, whole: form{40, 1, ammOne40}, pickAsm: pick20, wide: &wide{digits: 20, asm: ammWide20, pickAsm: pickWide20}},
	{bits: 1536, pair: form{30, 2, ammPair30}, whole: form{60, 1, ammOne60}, pickAsm: pick30, wide: &wide{digits: 30, asm: ammWide30, pickAsm: pickWide30}},
	{bits: 2048, pair: form{40, 2, ammPair40}, whole: form{80, 1, ammOne80}, pickAsm: pick40},
}
