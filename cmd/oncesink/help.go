package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// helpWidth is what a terminal has that nobody made wider.
const helpWidth = 80

// fitHelp has the help of a command and of those below it fit a narrow terminal.
func fitHelp(cmd *cobra.Command) {
	cmd.Long = wrapText(cmd.Long)
	if !cmd.HasParent() { // the others have its template
		cmd.SetUsageTemplate(strings.NewReplacer(".FlagUsages", ".FlagUsagesWrapped 80", " for more information about a command.", " for more.").
			Replace(cmd.UsageTemplate()))
	}
	for _, sub := range cmd.Commands() {
		fitHelp(sub)
	}
}

// wrapText breaks the lines of paragraphs anew; indented ones are left as they are.
func wrapText(text string) string {
	var out []string
	for _, paragraph := range strings.Split(text, "\n\n") {
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			out = append(out, paragraph)
			continue
		}
		var b strings.Builder
		width := 0
		for word := range strings.FieldsSeq(paragraph) {
			switch {
			case width == 0:
			case width+1+len(word) > helpWidth:
				b.WriteByte('\n')
				width = 0
			default:
				b.WriteByte(' ')
				width++
			}
			b.WriteString(word)
			width += len(word)
		}
		out = append(out, b.String())
	}
	return strings.Join(out, "\n\n")
}
