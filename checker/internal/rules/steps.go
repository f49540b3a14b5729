package rules

import (
	"math"
	"sort"
)

// never is the time of what did not happen.
const never = math.MaxInt64

// steps is a function of time that only grows: from just after at[i] its value
// is value[i]. Before the first step it is 0.
type steps struct {
	at    []int64
	value []int64
}

// point is a candidate for a step.
type point struct{ at, value int64 }

// newSteps returns the running maximum of points.
func newSteps(points []point) steps {
	sort.Slice(points, func(i, j int) bool { return points[i].at < points[j].at })
	var s steps
	for _, p := range points {
		if p.at == never {
			break
		}
		n := len(s.at)
		switch {
		case n > 0 && p.value <= s.value[n-1]:
		case n > 0 && s.at[n-1] == p.at:
			s.value[n-1] = p.value
		default:
			s.at, s.value = append(s.at, p.at), append(s.value, p.value)
		}
	}
	return s
}

// before returns the value at a time. hint is where the caller's last search
// of the same function ended; nearby times are found from there in O(1).
func (s *steps) before(t int64, hint *int32) int64 {
	i := int(*hint)
	if i > len(s.at) {
		i = len(s.at)
	}
	for n := 0; ; n++ {
		switch {
		case n == 16:
			i = sort.Search(len(s.at), func(i int) bool { return s.at[i] >= t })
		case i < len(s.at) && s.at[i] < t:
			i++
			continue
		case i > 0 && s.at[i-1] >= t:
			i--
			continue
		}
		break
	}
	*hint = int32(i)
	if i == 0 {
		return 0
	}
	return s.value[i-1]
}
