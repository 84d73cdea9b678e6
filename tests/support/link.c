/* SPDX-License-Identifier: MIT */
/**
 * main() of the tests link_<rank>: what they test is that they are linked. Those that start have
 * found all that the rank needs in itself, in lower ranks and in the libraries.
 */
int main(void)
{
    return 0;
}
