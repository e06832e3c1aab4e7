package scope

// mask is a set of permissions by their number, one bit for each.
type mask []uint64

func newMask(permissions int) mask {
	return make(mask, (permissions+63)/64)
}

func (m mask) set(i int) {
	m[i/64] |= 1 << (i % 64)
}

func (m mask) has(i int) bool {
	return m[i/64]&(1<<(i%64)) != 0
}

// setRange sets the bits from..to-1, a word at a time where possible.
func (m mask) setRange(from, to int) {
	for i := from; i < to; {
		if i%64 == 0 && to-i >= 64 {
			m[i/64] = ^uint64(0)
			i += 64
			continue
		}
		m.set(i)
		i++
	}
}

// add sets the bits of other, which may be nil.
func (m mask) add(other mask) {
	for i, w := range other {
		m[i] |= w
	}
}

func (m mask) remove(other mask) {
	for i, w := range other {
		m[i] &^= w
	}
}

// intersection makes m what a and b have in common and reports whether that is anything.
func (m mask) intersection(a, b mask) bool {
	var common uint64
	for i := range m {
		m[i] = a[i] & b[i]
		common |= m[i]
	}
	return common != 0
}

func (m mask) meets(other mask) bool {
	for i, w := range other {
		if m[i]&w != 0 {
			return true
		}
	}
	return false
}

func (m mask) clear() {
	clear(m)
}
