"""Links from a page to what is not part of the book lead to the repository. That they exist is what docs_test.go looks at."""
import posixpath
import re

LINK = re.compile(r"(\]\()((?:\.\./)+[^)\s]*)(\))")


def on_page_markdown(markdown, page, config, files):
    folder = posixpath.dirname(posixpath.join("docs", page.file.src_uri))

    def lead(match):
        path, hash_, anchor = match[2].partition("#")
        target = posixpath.normpath(posixpath.join(folder, path))
        if target.startswith("docs/"):
            return match[0]
        return f"{match[1]}{config.repo_url}/blob/main/{target}{hash_}{anchor}{match[3]}"

    return LINK.sub(lead, markdown)
