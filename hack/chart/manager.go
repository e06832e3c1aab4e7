package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
)

// manager is what of the chart's own templates an installation without Helm gets.
const managerFile = "config/manager/manager.yaml"

// ofHelm are the lines that are only true of what Helm installs, and the comment that names the template.
var ofHelm = regexp.MustCompile(`(?m)^ *(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n|^# Source: .*\n`)

// writeManager writes what helm template prints with the values of the chart.
func writeManager(rendered io.Reader) error {
	raw, err := io.ReadAll(rendered)
	if err != nil {
		return fmt.Errorf("reading what Helm rendered: %w", err)
	}
	text := "# Rendered from charts/wayleave by make generate.\n" + ofHelm.ReplaceAllString(string(raw), "")
	if err := os.WriteFile(managerFile, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", managerFile, err)
	}
	return nil
}
