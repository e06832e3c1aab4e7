//go:build unix && !linux

package cluster

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestNode(t *testing.T) {
	_, err := Start(t.Context(), Options{Node: true})
	NewWithT(t).Expect(err).To(MatchError(CanRunNode()))
}
