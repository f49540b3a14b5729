package rules

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cacheplugin/cacheplugin/checker/internal/history"
)

// Opinion is what porcupine thinks of a history.
type Opinion string

// The opinions.
const (
	Linearizable    Opinion = "linearizable"
	NotLinearizable Opinion = "not linearizable"
	GaveUp          Opinion = "gave up" // it took too long
)

// Registers is the outcome of Index.Registers.
type Registers struct {
	Opinion
	Reads, Writes int
}

// register is the input and output of an operation on one item.
type register struct {
	item    uint32
	op      uint8
	version uint32
}

// What an operation on a register does.
const (
	readIt uint8 = iota
	writeIt
	beginIt
	endIt
)

// bounds is the state of a register: a read may give any version from from to
// to. Where a write takes effect in one step the two are the same.
type bounds struct{ from, to uint32 }

// Registers takes items as registers, those reads of them by their ID that
// ended before some of them had limit, and all commits until then, and asks
// porcupine whether some order explains them.
//
// Under Committed a write takes effect at one moment between its COMMIT and
// its return, or at any later time if it never returned. Under the other grades
// either version may be read until it has returned: it is one operation at its
// COMMIT, after which the new version may be read, and one at its return, after
// which the old one may not.
func (x *Index) Registers(g Grade, files []string, limit int, timeout time.Duration) (Registers, error) {
	var ops []porcupine.Operation
	var out Registers
	end := int64(math.MaxInt64)
	for n, file := range files {
		mine := 0
		err := history.Read(file, func(r *history.Record) error {
			if r.Kind == history.ReadItem && len(r.States) == 1 && r.Start < end {
				if mine++; mine == limit {
					end = min(end, r.End)
				}
				ops = append(ops, porcupine.Operation{
					ClientId: n, Call: r.Start, Return: r.End, Output: r.States[0].Version,
					Input: register{item: r.A, op: readIt},
				})
			}
			return nil
		})
		if err != nil {
			return out, err
		}
	}
	kept := ops[:0]
	for _, op := range ops {
		if op.Return <= end {
			kept = append(kept, op)
		}
	}
	ops = kept
	out.Reads = len(ops)
	for _, c := range x.items {
		if c == nil {
			continue
		}
		for i, v := range c.versions[1:] {
			if v.began > end {
				break
			}
			write := register{item: c.ID, version: uint32(i + 1)}
			back := v.binds(g)
			add := func(op uint8, call, back int64) {
				write.op = op
				ops = append(ops, porcupine.Operation{ClientId: len(files) + len(ops), Call: call, Return: back, Input: write})
			}
			out.Writes++
			if g == Committed {
				// By then another had overwritten it.
				add(writeIt, v.began, min(back, v.done))
				continue
			}
			add(beginIt, v.began, v.began)
			if back != never {
				add(endIt, back, back)
			}
		}
	}
	switch porcupine.CheckOperationsTimeout(registers(), ops, timeout) {
	case porcupine.Ok:
		out.Opinion = Linearizable
	case porcupine.Illegal:
		out.Opinion = NotLinearizable
	default:
		out.Opinion = GaveUp
	}
	return out, nil
}

func registers() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			byItem := map[uint32][]porcupine.Operation{}
			for _, op := range all {
				id := op.Input.(register).item
				byItem[id] = append(byItem[id], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range byItem {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return bounds{} },
		Step: func(state, input, output any) (bool, any) {
			s, in := state.(bounds), input.(register)
			switch in.op {
			case writeIt:
				return in.version == s.to+1, bounds{in.version, in.version}
			case beginIt:
				return in.version == s.to+1, bounds{s.from, in.version}
			case endIt:
				return in.version <= s.to, bounds{max(s.from, in.version), s.to}
			default:
				v := output.(uint32)
				return s.from <= v && v <= s.to, s
			}
		},
	}
}
