"""What tests of the playground do in a page of a browser."""


def stop_after(page, characters):
    """Lets the page itself press Stop after some characters, however late the test would be.

    Args:
      page: A page of the playground.
      characters: The number of characters of the text to wait for.
    """
    page.evaluate(
        """characters => {
          const text = document.querySelector("#text");
          new MutationObserver((_, observer) => {
            if (text.querySelectorAll("span").length < characters) return;
            observer.disconnect();
            document.querySelector("#halt").click();
          }).observe(text, {childList: true, subtree: true});
        }""",
        characters,
    )
