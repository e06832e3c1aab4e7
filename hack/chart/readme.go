package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	valuesFile = "charts/wayleave/values.yaml"
	readmeFile = "charts/wayleave/README.md"
	// tableBegins is the line of the README behind which the table of the values is written.
	tableBegins = "<!-- Made of values.yaml by make generate. -->\n"
)

// value is one row of the table.
type value struct{ name, byDefault, means string }

// writeReadme writes the table of all values behind what is said of them by hand.
func writeReadme() error {
	raw, err := os.ReadFile(valuesFile)
	if err != nil {
		return fmt.Errorf("reading the values: %w", err)
	}
	var values yaml.Node
	if err := yaml.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("reading the values: %w", err)
	}
	rows, err := rowsOf("", values.Content[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		return fmt.Errorf("reading the README of the chart: %w", err)
	}
	before, _, found := strings.Cut(string(text), tableBegins)
	if !found {
		return fmt.Errorf("%s has no line %q", readmeFile, strings.TrimSpace(tableBegins))
	}
	var table strings.Builder
	table.WriteString("\n| value | default | meaning |\n| --- | --- | --- |\n")
	for _, r := range rows {
		table.WriteString("| `" + r.name + "` | `" + r.byDefault + "` | " + r.means + " |\n")
	}
	if err := os.WriteFile(readmeFile, []byte(before+tableBegins+table.String()), 0o600); err != nil {
		return fmt.Errorf("writing the README of the chart: %w", err)
	}
	return nil
}

// rowsOf are the rows of the values below a key. One that is explained is one row, whatever it holds; a mapping without an
// explanation is many.
func rowsOf(prefix string, mapping *yaml.Node) ([]value, error) {
	var rows []value
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, content := mapping.Content[i], mapping.Content[i+1]
		name := prefix + key.Value
		means := explanation(key.HeadComment)
		if content.Kind == yaml.MappingNode && len(content.Content) > 0 && means == "" {
			below, err := rowsOf(name+".", content)
			if err != nil {
				return nil, err
			}
			rows = append(rows, below...)
			continue
		}
		if means == "" {
			return nil, fmt.Errorf("%s: value %s has no comment that begins with # --", valuesFile, name)
		}
		var held any
		if err := content.Decode(&held); err != nil {
			return nil, fmt.Errorf("reading value %s: %w", name, err)
		}
		byDefault, err := json.Marshal(held)
		if err != nil {
			return nil, fmt.Errorf("encoding value %s: %w", name, err)
		}
		rows = append(rows, value{name, string(byDefault), strings.ReplaceAll(means, "|", `\|`)})
	}
	return rows, nil
}

// explanation is what a comment says of a value; empty if it does not begin as such a comment does.
func explanation(comment string) string {
	text, found := strings.CutPrefix(comment, "# -- ")
	if !found {
		return ""
	}
	return strings.ReplaceAll(text, "\n# ", " ")
}
