package conj

// classifyShape says what a SELECT is asked for, by its list of results (the
// tokens from start up to end) and its grouping.
func (p *parser) classifyShape(start, end int, grouped bool) Shape {
	items, depth, first := 1, 0, p.toks[start:end]
	aggregate := grouped
	for i := range first {
		t := &first[i]
		switch {
		case t.is("(") || t.is("["):
			if t.is("(") && i > 0 && aggregateFunctions[first[i-1].word] && !windowed(first[i:]) && !p.inSubquery(first[:i]) {
				aggregate = true
			}
			depth++
		case t.is(")") || t.is("]"):
			depth--
		case t.is(",") && depth == 0:
			items++
		}
	}
	if items == 1 && len(first) > 0 {
		switch shape := p.singleItem(first); shape {
		case Exists, Count:
			return shape
		}
	}
	if aggregate {
		return Aggregate
	}
	return Rows
}

// inSubquery reports whether the end of some tokens is inside a subquery.
func (p *parser) inSubquery(toks []token) bool {
	depth := 0
	for i := len(toks) - 1; i >= 0; i-- {
		switch t := &toks[i]; {
		case t.is(")"):
			depth++
		case t.is("("):
			if depth--; depth < 0 {
				if toks[i+1].anyOf("select", "with") {
					return true
				}
				depth = 0
			}
		}
	}
	return false
}

// windowed reports whether a call, at its opening parenthesis, has OVER.
func windowed(toks []token) bool {
	end := closing(toks)
	for end+1 < len(toks) && toks[end+1].anyOf("filter", "within") {
		i := end + 2
		for i < len(toks) && !toks[i].is("(") {
			i++
		}
		if i >= len(toks) {
			return false
		}
		end = i + closing(toks[i:])
	}
	return end+1 < len(toks) && toks[end+1].word == "over"
}

// closing returns the index of the parenthesis that closes the first token.
func closing(toks []token) int {
	depth := 0
	for i := range toks {
		if toks[i].is("(") {
			depth++
		} else if toks[i].is(")") {
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(toks) - 1
}

// singleItem classifies a select list of one item.
func (p *parser) singleItem(toks []token) Shape {
	switch t := &toks[0]; {
	case t.word == "exists":
		return Exists
	case t.word == "true", t.kind == tokNumber && t.text == "1":
		if len(toks) == 1 || toks[1].word == "as" || toks[1].identifier() {
			return Exists
		}
	case t.word == "count" && len(toks) > 1 && toks[1].is("("):
		end := 1 + closing(toks[1:])
		rest := toks[end+1:]
		switch {
		case len(rest) == 0, rest[0].word == "as", rest[0].identifier() && rest[0].word != "over" && rest[0].word != "filter":
			return Count
		case rest[0].word == "filter":
			return Count
		case rest[0].op(">") && len(rest) > 1 && (rest[1].kind == tokNumber || rest[1].kind == tokParam):
			return Exists
		}
	}
	return Rows
}
